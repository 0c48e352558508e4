package etcdpeers

// Encode is for tests: the value under which an address is stored.
func Encode(addr string) (string, error) { return encode(addr) }

// Decode is for tests: the address in a stored value.
func Decode(value []byte) string { return decode(value) }
