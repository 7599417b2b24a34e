package pagestest

import (
	"bytes"
	"cmp"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rowbell/rowbell/pkg/access"
)

// tour are the pictures of docs/tour.md and docs/guide.md: of these screens, in these themes.
// A theme has its name in the file's but for light ones of screens that have no other.
var tour = []struct{ screen, theme string }{
	{"signin", "light"},
	{"home", "light"},
	{"home", "dark"},
	{"workflows", "light"},
	{"workflow", "light"},
	{"gallery", "light"},
	{"example", "light"},
	{"designer", "light"},
	{"designer", "dark"},
	{"try", "light"},
	{"publish", "light"},
	{"versions", "light"},
	{"transfer", "light"},
	{"runs", "light"},
	{"run", "light"},
	{"run", "dark"},
	{"failures", "light"},
	{"replay-new", "light"},
	{"why", "light"},
	{"destinations", "light"},
	{"destination", "light"},
	{"templates", "light"},
	{"template", "light"},
	{"recipients", "light"},
	{"inbox", "light"},
	{"preferences", "light"},
	{"activity", "light"},
	{"access", "light"},
	{"stream", "light"},
	{"connections", "light"},
	{"settings", "light"},
}

// tourPaths are of screens that show more so.
var tourPaths = map[string]string{
	"why": "/why?table={table}&row_key={row}", "recipients": "/recipients?type=user&value={person}", "failures": "/failures?within=week",
	"versions": "/workflows/{old}/versions?from=1&to=2",
}

// mostPicture is the most bytes that a picture of the tour has.
const mostPicture = 60_000

// With ROWBELL_TOUR=docs (make tour) the pictures of the manual are made anew.
func TestTour(t *testing.T) {
	dir := os.Getenv("ROWBELL_TOUR")
	if dir == "" {
		t.Skip("ROWBELL_TOUR says where pictures go; make tour sets it")
	}
	t.Parallel()
	w, of := filled(t)
	v := w.visitors(t, 1280, w.key(of["tenant"], access.Admin), of["tenant"], of["person"])
	v.key.run(chromedp.EmulateViewport(1280, 860))
	v.person.run(chromedp.EmulateViewport(1280, 860))
	for _, one := range tour {
		i := slices.IndexFunc(screens, func(s screen) bool { return s.name == one.screen })
		if i < 0 {
			t.Fatalf("there is no screen %s", one.screen)
		}
		s := screens[i]
		s.path = cmp.Or(tourPaths[s.name], s.path)
		b := v.of(s)
		b.themed(one.theme)
		b.to(s.at(of))
		b.settled()
		name := s.name
		if one.theme == "dark" || one.screen == "designer" {
			name += "-" + one.theme
		}
		picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pages-"+name+".png"), small(t, picture), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v.end()
}

// Each picture that the manual shows is there and small, and each of the tour's is shown.
func TestTourIsWhole(t *testing.T) {
	t.Parallel()
	const docs = "../../../docs/"
	shown := ""
	for _, file := range []string{"guide.md", "tour.md"} {
		text, err := os.ReadFile(docs + file)
		if err != nil {
			t.Fatal(err)
		}
		shown += string(text)
	}
	for _, one := range tour {
		name := "pages-" + one.screen
		if one.theme == "dark" || one.screen == "designer" {
			name += "-" + one.theme
		}
		if !strings.Contains(shown, "("+name+".png)") {
			t.Errorf("no manual shows %s.png", name)
		}
		picture, err := os.Stat(docs + name + ".png")
		if err != nil {
			t.Errorf("make tour: %v", err)
		} else if picture.Size() > mostPicture {
			t.Errorf("%s.png has %d bytes", name, picture.Size())
		}
	}
}

// small is a picture with as many colours as it may have for its size.
func small(t *testing.T, picture []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	for colours := 128; ; colours /= 2 {
		var b bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, reduced(full, colours)); err != nil {
			t.Fatal(err)
		}
		if b.Len() <= mostPicture || colours == 8 {
			return b.Bytes()
		}
	}
}

// reduced is an image in so many colours: the most frequent ones stay as they are, as do the
// plain areas of a page, and others become the nearest of them.
func reduced(full image.Image, colours int) *image.Paletted {
	count := make(map[color.RGBA]int)
	bounds := full.Bounds()
	at := func(x, y int) color.RGBA {
		r, g, b, _ := full.At(x, y).RGBA()
		return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}
	}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	all := make([]color.RGBA, 0, len(count))
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(int(a.R)<<16|int(a.G)<<8|int(a.B), int(b.R)<<16|int(b.G)<<8|int(b.B)))
	})
	// A colour that is close to one before it has no place of its own.
	var palette color.Palette
	for near := 3000; len(palette) < colours && near > 0; near /= 2 {
		for _, c := range all {
			if len(palette) == colours {
				break
			}
			if len(palette) == 0 || distance(c, palette[palette.Index(c)].(color.RGBA)) > near {
				palette = append(palette, c)
			}
		}
	}
	known := make(map[color.RGBA]uint8, len(all))
	for _, c := range all {
		known[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			out.SetColorIndex(x, y, known[at(x, y)])
		}
	}
	return out
}

// distance is how different two colours are.
func distance(a, b color.RGBA) int {
	square := func(x, y uint8) int { return (int(x) - int(y)) * (int(x) - int(y)) }
	return square(a.R, b.R) + square(a.G, b.G) + square(a.B, b.B)
}
