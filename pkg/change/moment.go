package change

// Moment returns a date or timestamp as seconds since 1970, UTC, without allocating.
// Later values never come out smaller, and those of today's centuries are exact to a
// microsecond. infinity and -infinity are beyond every date. ok is false if text is
// none, or the type is of another kind.
func (t Type) Moment(text []byte) (seconds float64, ok bool) {
	switch t.Kind {
	case Date, Timestamp, TimestampTZ:
	default:
		return 0, false
	}
	at, err := parseTime(text, t.Kind)
	if err != nil {
		return 0, false
	}
	return float64(at.Unix()) + float64(at.Nanosecond())/1e9, true
}
