// Package migrations holds the SQL that makes Rowbell's tables: source/ for the
// application's database, state/ for log, queue and checkpoint. Both make the schema
// rowbell, and may run in one database.
//
// Files are named 00001_name.sql and run in that order, each in one transaction, with
// search_path = pg_catalog: every name of ours and of the application's is written with
// its schema. There is no way down but `rowbell uninstall`, so a file has no
// "-- +goose Down" part, and its text as it stands is what `rowbell migrate --print`
// shows. A statement with semicolons inside stands between "-- +goose StatementBegin"
// and "-- +goose StatementEnd". A file that was released is never changed.
package migrations

import (
	"embed"
	"io/fs"
)

var (
	//go:embed source
	source embed.FS
	//go:embed state
	state embed.FS

	// Source has the migrations of the source database.
	Source = sub(source, "source")
	// State has the migrations of the state database.
	State = sub(state, "state")
)

func sub(all fs.FS, folder string) fs.FS {
	f, err := fs.Sub(all, folder)
	if err != nil {
		panic(err) // only for a malformed folder name
	}
	return f
}
