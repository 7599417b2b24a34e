package pgoutput

import "github.com/rowbell/rowbell/pkg/change"

// builtin is a type that comes with PostgreSQL.
type builtin struct {
	name  string
	oid   uint32
	array uint32 // 0 none
	kind  change.Kind
}

// builtins is pg_type's pg_catalog without row and pseudo types, as of PostgreSQL
// 14 to 18. These OIDs never change, and the server sends no Type message for
// them. A type that is missing here is text.
var builtins = [...]builtin{
	{"bool", 16, 1000, change.Bool},
	{"bytea", 17, 1001, change.Bytea},
	{"char", 18, 1002, change.Text},
	{"name", 19, 1003, change.Text},
	{"int8", 20, 1016, change.Int},
	{"int2", 21, 1005, change.Int},
	{"int2vector", 22, 1006, change.Text},
	{"int4", 23, 1007, change.Int},
	{"regproc", 24, 1008, change.Text},
	{"text", 25, 1009, change.Text},
	{"oid", 26, 1028, change.Int},
	{"tid", 27, 1010, change.Text},
	{"xid", 28, 1011, change.Text},
	{"cid", 29, 1012, change.Text},
	{"oidvector", 30, 1013, change.Text},
	{"json", 114, 199, change.JSON},
	{"xml", 142, 143, change.Text},
	{"pg_node_tree", 194, 0, change.Text},
	{"point", 600, 1017, change.Text},
	{"lseg", 601, 1018, change.Text},
	{"path", 602, 1019, change.Text},
	{"box", 603, 1020, change.Text},
	{"polygon", 604, 1027, change.Text},
	{"line", 628, 629, change.Text},
	{"cidr", 650, 651, change.Text},
	{"float4", 700, 1021, change.Float},
	{"float8", 701, 1022, change.Float},
	{"circle", 718, 719, change.Text},
	{"macaddr8", 774, 775, change.Text},
	{"money", 790, 791, change.Text},
	{"macaddr", 829, 1040, change.Text},
	{"inet", 869, 1041, change.Text},
	{"aclitem", 1033, 1034, change.Text},
	{"bpchar", 1042, 1014, change.Text},
	{"varchar", 1043, 1015, change.Text},
	{"date", 1082, 1182, change.Date},
	{"time", 1083, 1183, change.Time},
	{"timestamp", 1114, 1115, change.Timestamp},
	{"timestamptz", 1184, 1185, change.TimestampTZ},
	{"interval", 1186, 1187, change.Interval},
	{"timetz", 1266, 1270, change.TimeTZ},
	{"bit", 1560, 1561, change.Text},
	{"varbit", 1562, 1563, change.Text},
	{"numeric", 1700, 1231, change.Number},
	{"refcursor", 1790, 2201, change.Text},
	{"regprocedure", 2202, 2207, change.Text},
	{"regoper", 2203, 2208, change.Text},
	{"regoperator", 2204, 2209, change.Text},
	{"regclass", 2205, 2210, change.Text},
	{"regtype", 2206, 2211, change.Text},
	{"uuid", 2950, 2951, change.UUID},
	{"txid_snapshot", 2970, 2949, change.Text},
	{"pg_lsn", 3220, 3221, change.Text},
	{"pg_ndistinct", 3361, 0, change.Text},
	{"pg_dependencies", 3402, 0, change.Text},
	{"tsvector", 3614, 3643, change.Text},
	{"tsquery", 3615, 3645, change.Text},
	{"gtsvector", 3642, 3644, change.Text},
	{"regconfig", 3734, 3735, change.Text},
	{"regdictionary", 3769, 3770, change.Text},
	{"jsonb", 3802, 3807, change.JSON},
	{"int4range", 3904, 3905, change.Text},
	{"numrange", 3906, 3907, change.Text},
	{"tsrange", 3908, 3909, change.Text},
	{"tstzrange", 3910, 3911, change.Text},
	{"daterange", 3912, 3913, change.Text},
	{"int8range", 3926, 3927, change.Text},
	{"jsonpath", 4072, 4073, change.Text},
	{"regnamespace", 4089, 4090, change.Text},
	{"regrole", 4096, 4097, change.Text},
	{"regcollation", 4191, 4192, change.Text},
	{"int4multirange", 4451, 6150, change.Text},
	{"nummultirange", 4532, 6151, change.Text},
	{"tsmultirange", 4533, 6152, change.Text},
	{"tstzmultirange", 4534, 6153, change.Text},
	{"datemultirange", 4535, 6155, change.Text},
	{"int8multirange", 4536, 6157, change.Text},
	{"pg_brin_bloom_summary", 4600, 0, change.Text},
	{"pg_brin_minmax_multi_summary", 4601, 0, change.Text},
	{"pg_mcv_list", 5017, 0, change.Text},
	{"pg_snapshot", 5038, 5039, change.Text},
	{"xid8", 5069, 271, change.Text},
}

var (
	typesByOID  = make(map[uint32]change.Type, 2*len(builtins))
	typesByName = make(map[string]change.Type, 2*len(builtins))
)

func init() {
	add := func(t change.Type) {
		typesByOID[t.OID] = t
		typesByName[t.Name] = t
	}
	for _, b := range builtins {
		add(change.Type{OID: b.oid, Kind: b.kind, Name: b.name})
		if b.array != 0 {
			add(change.Type{OID: b.array, Kind: change.Array, Elem: b.kind, Name: "_" + b.name})
		}
	}
}
