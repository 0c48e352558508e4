package observe

import (
	"hash/fnv"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxLabel bounds a label value, in bytes.
const MaxLabel = 128

// Other is the label of all that there are too many of.
const Other = "_other"

// Label makes a label value of s: valid UTF-8, because anything else would spoil the whole scrape,
// cut to at most MaxLabel bytes between two runes.
func Label(s string) string { return clean(s, MaxLabel) }

// Distinct is Label for names that must not look alike once they are cleaned, and are cleaned apart
// from each other: what Label would change ends in a mark of its own.
func Distinct(s string) string {
	label := Label(s)
	if label == s {
		return s
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it does not fail
	mark := "~" + strconv.FormatUint(h.Sum64(), 36)
	return clean(s, MaxLabel-len(mark)) + mark
}

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

// Labels hands out label values that differ, for names that may look the same once they are
// cleaned: a registry refuses a scrape with two series of the same labels. It is not safe for
// concurrent use.
type Labels struct {
	max   int
	taken map[string]struct{}
}

// NewLabels hands out at most limit labels besides Other; 0 is without limit.
func NewLabels(limit int) *Labels { return &Labels{max: limit, taken: make(map[string]struct{})} }

// Take returns a label for a name, numbered if another name has it; Other beyond the limit.
func (l *Labels) Take(name string) string {
	if l.max > 0 && len(l.taken) >= l.max {
		return Other
	}
	label := Label(name)
	for i := 2; l.Has(label); i++ {
		suffix := "~" + strconv.Itoa(i)
		label = clean(name, MaxLabel-len(suffix)) + suffix
	}
	l.taken[label] = struct{}{}
	return label
}

// Has reports whether a label is in use. Other always is.
func (l *Labels) Has(label string) bool {
	_, taken := l.taken[label]
	return taken || label == Other
}

// Hold marks a label as in use, for a name that has it already.
func (l *Labels) Hold(label string) { l.taken[label] = struct{}{} }

// Drop gives a label back.
func (l *Labels) Drop(label string) { delete(l.taken, label) }

// maxShown is how much of a name messages show, in bytes.
const maxShown = 100

// Cut makes a name of unknown origin fit for a log: not too long.
func Cut(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}

// Quote makes a name of unknown origin fit for a message: quoted, and not too long.
func Quote(s string) string { return strconv.Quote(Cut(s)) }
