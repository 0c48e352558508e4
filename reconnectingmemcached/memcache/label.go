package memcache

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxLabel bounds a label, in bytes, and maxLabels the servers that have one of their own.
	maxLabel  = 128
	maxLabels = 1024
	// otherLabel is that of all servers beyond.
	otherLabel = "_other"
)

// labels are the values of the label "server" in use.
type labels map[string]struct{}

// take returns a label for an address: valid, not too long, and numbered if another server has it.
func (l labels) take(address string) string {
	if len(l) >= maxLabels {
		return otherLabel
	}
	label := cleanLabel(address, maxLabel)
	for i := 2; l.has(label); i++ {
		suffix := "~" + strconv.Itoa(i)
		label = cleanLabel(address, maxLabel-len(suffix)) + suffix
	}
	l[label] = struct{}{}
	return label
}

func (l labels) has(label string) bool {
	_, taken := l[label]
	return taken || label == otherLabel
}

func cleanLabel(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.Clone(s[:limit])
}
