package change

// Relation is a table as the stream described it before the rows that follow. It
// is immutable: an ALTER TABLE makes the server send another, and cdc makes a new
// *Relation, so a pointer comparison tells whether a binding is current.
type Relation struct {
	OID             uint32
	Schema          string // "public"; never empty
	Name            string
	ReplicaIdentity byte // 'd' default, 'n' nothing, 'f' full, 'i' index (pg_class.relreplident)
	Columns         []Column
	// Fingerprint is a hash of all of the above: equal for equal descriptions, over
	// connections and processes.
	Fingerprint uint64
}

// Column is one column of a Relation, in the order of its rows.
type Column struct {
	Name     string
	Type     Type
	Modifier int32 // pg_attribute.atttypmod; -1 none
	Key      bool  // part of the replica identity, so present in Old of updates of the key and deletes
}

// Column returns the index of the named column, or -1.
func (r *Relation) Column(name string) int {
	for i := range r.Columns {
		if r.Columns[i].Name == name {
			return i
		}
	}
	return -1
}

// Label is the table's name as workflows write it: the bare name in schema public,
// schema.name elsewhere.
func (r *Relation) Label() string { return TableLabel(r.Schema, r.Name) }

// TableLabel is the name that workflows use for a table: the bare name in schema
// public, schema.name elsewhere.
func TableLabel(schema, name string) string {
	if schema == "public" {
		return name
	}
	return schema + "." + name
}
