package definition

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"
)

// File is the text of a file, and what messages call it. One whose name ends in .json is
// JSON, others are YAML.
type File struct {
	Name, Text string
}

// Source is the file that the document stands in.
func (d *Document) Source() File { return d.source }

// Files are those that were read, in order.
func (b *Bundle) Files() []File { return b.files }

// BundleOf reads files' documents, as ReadBundle does.
func BundleOf(files ...File) (*Bundle, error) {
	b := &Bundle{}
	var problems []error
	for _, f := range files {
		if err := b.read(f.Name, []byte(f.Text)); err != nil {
			problems = append(problems, err)
		}
	}
	return b, joined(append(problems, b.twice()...))
}

// Made is a plan that was made elsewhere of this bundle, by these options: another process's,
// which carries it out when it is given Tag back.
func Made(steps []Step, tag string, b *Bundle, o PlanOptions) *Plan {
	p := &Plan{Steps: steps, Bundle: b, Options: o, tag: tag}
	docs := b.Workflows
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Kind == "workflow" && s.Do != Deletes && len(docs) > 0 {
			s.doc, docs = docs[0], docs[1:] // each document has its step, in their order
		}
	}
	return p
}

// Tag is the same as long as the plan is.
func (p *Plan) Tag() (string, error) {
	if p.tag != "" {
		return p.tag, nil
	}
	text, err := json.Marshal(p.Steps)
	if err != nil {
		return "", fmt.Errorf("write a plan as JSON: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// Refusal says why a plan is not carried out; nil if nothing stands in its way.
func (p *Plan) Refusal() error {
	if blocked := p.Blocked(); len(blocked) > 0 {
		return refused("nothing was applied: %s to mend first", counted(len(blocked), "workflow is", "workflows are"))
	}
	return nil
}

// idsOf gives new ids, each greater than the one before: by a seed the same each time.
func idsOf(seed ulid.ULID) func() string {
	if seed == (ulid.ULID{}) {
		return newULID
	}
	return func() string {
		low := seed[8:]
		binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)+1)
		if !slices.ContainsFunc(low, func(b byte) bool { return b != 0 }) { // it has gone round
			binary.BigEndian.PutUint16(seed[6:8], binary.BigEndian.Uint16(seed[6:8])+1)
		}
		return seed.String()
	}
}
