package localpg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// template returns a data directory that initdb made with these binaries, from the
// cache; it makes it if need be. Of several processes one makes it and the rest wait.
func (s *Server) template(ctx context.Context) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	info, err := os.Stat(filepath.Join(s.bin.Dir, "postgres"))
	if err != nil {
		return "", err
	}
	// Whatever the cluster's content depends on.
	key := sha256.Sum256(fmt.Appendln(nil, s.bin.Dir, s.bin.Version, info.Size(), info.ModTime().UnixNano(), strings.Join(initdbArgs("DIR"), " ")))
	dir := filepath.Join(cache, "template", s.bin.Version+"-"+hex.EncodeToString(key[:6]))
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	work, err := os.MkdirTemp(filepath.Join(cache, "template"), ".init-*")
	if err != nil {
		return "", err
	}
	made := filepath.Join(work, "data")
	err = s.as.own(work)
	if err == nil {
		err = s.initdb(ctx, made)
	}
	if err == nil {
		err = os.Rename(made, dir)
	}
	return dir, errors.Join(err, os.RemoveAll(work))
}

// copyData copies a stopped server's data directory to ours, for our account.
func (s *Server) copyData(from string) error {
	to := s.DataDir()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			if err := os.Mkdir(dst, 0o700); err != nil {
				return err
			}
			return s.as.own(dst)
		case d.Type().IsRegular():
			return s.copyFile(path, dst)
		}
		return fmt.Errorf("%s is a %s; tablespaces and a WAL directory elsewhere can't be copied", path, d.Type())
	})
	if err != nil {
		return fmt.Errorf("copy the data directory %s: %w", from, err)
	}
	return nil
}

func (s *Server) copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return s.as.own(to)
}

// own gives path to the account; nil is ourselves, to whom it belongs already.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// write makes a file that belongs to the account.
func (a *account) write(path string, data []byte) error {
	return errors.Join(os.WriteFile(path, data, 0o600), a.own(path))
}
