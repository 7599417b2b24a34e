package change

// Kind is the family of a column's type: how its text is read, compared and
// written as JSON.
type Kind uint8

const (
	Text        Kind = iota // text, varchar, char, name, citext, enum, and every type not named below
	Bool                    // bool
	Int                     // int2, int4, int8, oid: int
	Float                   // float4, float8: float64 with NaN and infinities
	Number                  // numeric: Numeric
	Bytea                   // []byte
	Date                    // time.Time at midnight UTC
	Time                    // time without zone: text
	TimeTZ                  // time with zone: text
	Timestamp               // time.Time in UTC, standing for local time
	TimestampTZ             // time.Time in UTC
	Interval                // text, ISO 8601 or as PostgreSQL writes it
	UUID                    // text
	JSON                    // json, jsonb: any
	Array                   // of Elem: []any, nested for more dimensions
)

// Type is a column's type as the stream tells it. Domains have the type they are
// over. Enums and unknown types are Text.
type Type struct {
	OID  uint32
	Kind Kind
	Elem Kind   // of an Array
	Name string // as PostgreSQL names it: int4, numeric, mood, _text
}
