package cdc

import (
	"testing"

	"github.com/rowbell/rowbell/pkg/change"
	"github.com/rowbell/rowbell/pkg/pgtest"
)

// What the catalog says of a table is what the stream says before its rows.
func TestDescribeIsWhatTheStreamSays(t *testing.T) {
	t.Parallel()
	for name, ddl := range map[string]string{
		"primary key": "",
		"full":        "alter table described replica identity full",
		"index":       "create unique index by_name on described (name); alter table described replica identity using index by_name",
		"dropped":     "alter table described drop column note",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.DB(t)
			db.Exec(t, `create type mood as enum ('calm', 'loud'); create domain price as numeric(12,2); create domain dear as price check (value > 100)`)
			db.Exec(t, `create table described (id bigint, note text, name varchar(20) not null, mood mood, moods mood[], price price, dear dear,
				tags text[], twice numeric generated always as (price * 2) stored, at timestamptz default now(), meta jsonb, primary key (id))`)
			if ddl != "" {
				db.Exec(t, ddl)
			}
			cfg := prepare(t, db)
			db.Exec(t, `alter publication "p ub" add table described`)
			if _, err := CreateSlot(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			s := connect(t, cfg)
			read := make(chan error, 1)
			go func() { read <- s.Run(t.Context()) }()
			db.Exec(t, `insert into described (id, name) values (1, 'a')`)
			var streamed *change.Relation
			for streamed == nil {
				p := <-s.Parts()
				for i := range p.List {
					if len(p.List[i].Events) > 0 {
						streamed = p.List[i].Events[0].Relation
					}
				}
				p.Release()
			}
			s.Abort()
			if err := <-read; err == nil {
				t.Error("the stream was broken off without an error")
			}
			got, err := Describe(t.Context(), db.Pool(t), "public", "described")
			if err != nil {
				t.Fatal(err)
			}
			if got.Fingerprint != streamed.Fingerprint {
				t.Errorf("the catalog gives\n%+v\nthe stream\n%+v", got, streamed)
			}
		})
	}
	db := pgtest.DB(t)
	if got, err := Describe(t.Context(), db.Pool(t), "public", "nothing"); err != nil || got != nil {
		t.Errorf("a table that isn't there was described as %+v, %v", got, err)
	}
}
