package definition

import "bytes"

// YAMLOf writes JSON as YAML: keys in their order, numbers with all their digits, and texts
// so that no reader takes one for a number or a date.
//
// What has a key twice, as columns of type json may, YAML can't say: it comes back as it is,
// since JSON is YAML too.
func YAMLOf(data []byte) []byte {
	root, err := parseJSON("", data)
	if err != nil {
		return data
	}
	var b bytes.Buffer
	switch {
	case root.kind == mapping && len(root.members) > 0:
		writeMembers(&b, root, "", "")
	case root.kind == list && len(root.items) > 0:
		for _, item := range root.items {
			b.WriteByte('-')
			if item.kind == mapping && len(item.members) > 0 {
				writeMembers(&b, item, " ", "  ")
			} else {
				writeValue(&b, item, "")
			}
		}
	default:
		writeScalar(&b, root, false)
		b.WriteByte('\n')
	}
	return b.Bytes()
}
