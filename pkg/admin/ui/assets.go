package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed assets templates
var files embed.FS

// assets serves what pages need beside their HTML. Each has a name that changes with what is
// in it, so that browsers keep it for good.
type assets struct {
	base string
	all  map[string]asset
}

type asset struct {
	hash, kind string
	raw, gzip  []byte
}

func newAssets(base string) *assets {
	a := &assets{base: base, all: make(map[string]asset)}
	read := func(pattern string) (names []string) {
		names, err := fs.Glob(files, pattern)
		if err != nil {
			panic(err)
		}
		return names
	}
	for _, name := range read("assets/*.*") {
		a.add(path.Base(name), mustRead(name))
	}
	// One style sheet of all, in the order of their names.
	var styles []byte
	for _, name := range read("assets/css/*.css") {
		styles = append(styles, mustRead(name)...)
	}
	a.add("rowbell.css", styles)
	return a
}

func mustRead(name string) []byte {
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		panic(err)
	}
	return raw
}

func (a *assets) add(name string, raw []byte) {
	sum := sha256.Sum256(raw)
	one := asset{hash: hex.EncodeToString(sum[:8]), kind: mime.TypeByExtension(path.Ext(name)), raw: raw}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is right
	_, _ = z.Write(raw)                                   // never fails
	_ = z.Close()
	if b.Len() < len(raw) {
		one.gzip = b.Bytes()
	}
	a.all[name] = one
}

// url is where an asset is; a name that there is not is a mistake in a template.
func (a *assets) url(name string) string {
	one, ok := a.all[name]
	if !ok {
		panic("there is no asset " + name)
	}
	return a.base + "/assets/" + one.hash + "/" + name
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one, ok := a.all[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", one.kind)
	h.Set("Vary", "Accept-Encoding")
	if r.PathValue("hash") == one.hash { // else it is an older page's: this one is not kept under its name
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body := one.raw
	if one.gzip != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = one.gzip
	}
	_, _ = w.Write(body) // the visitor has gone away: nobody to tell
}
