package sentinel

// ParsePush reads the payload of a sentinel's event.
func ParsePush(channel, payload string) (name, addr string, ok bool) {
	p, ok := parsePush(channel, payload)
	return p.name, p.addr, ok
}

// ParseRole reads the reply to ROLE.
func ParseRole(parts []any) (primary, linked bool, offset int64, err error) {
	r, err := parseRole(parts)
	return r.primary, r.linked, r.offset, err
}

// Owners is how many ids of sentinels are remembered.
func (c *Client) Owners() (n int) {
	c.ask(func() { n = len(c.director.owners) })
	return n
}
