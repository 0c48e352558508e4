package wire

// Texts are the strings of a list; an element that is nil is empty.
func Texts(list [][]byte) []string {
	texts := make([]string, len(list))
	for i, b := range list {
		texts[i] = string(b)
	}
	return texts
}

// Pairs is the map of a list of keys and values in turn, as RESP2 has maps; it reports false if the
// last key has no value.
func Pairs(list []string) (map[string]string, bool) {
	if len(list)%2 != 0 {
		return nil, false
	}
	m := make(map[string]string, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m, true
}
