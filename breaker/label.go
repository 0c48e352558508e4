package breaker

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxLabel bounds a label value, in bytes.
const maxLabel = 128

func cleanName(name string) (string, error) {
	if name == "" {
		return "", errors.New(`breaker: name is "": set one, it tells this breaker's metrics from others'`)
	}
	return clean(name, maxLabel), nil
}

// clean makes a label value of s: valid UTF-8, cut to at most limit bytes between two runes.
func clean(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit])
}

// labels hands out label values that differ, for endpoints that may look the same once cleaned.
type labels map[string]struct{}

// take returns the label for an endpoint: cleaned, and numbered if another has it.
func (l labels) take(endpoint string) string {
	label := clean(endpoint, maxLabel)
	for i := 2; l.has(label); i++ {
		suffix := "~" + strconv.Itoa(i)
		label = clean(endpoint, maxLabel-len(suffix)) + suffix
	}
	l[label] = struct{}{}
	return label
}

func (l labels) has(label string) bool {
	_, taken := l[label]
	return taken
}
