package access

// ParseRole reads the reply to ROLE.
func ParseRole(parts []any) (primary, linked bool, offset int64, err error) {
	r, err := parseRole(parts)
	return r.Primary, r.Linked, r.Offset, err
}

// ParseInfo reads the reply to INFO replication.
func ParseInfo(text string) (primary, linked bool, offset int64, err error) {
	r, err := parseInfo(text)
	return r.Primary, r.Linked, r.Offset, err
}
