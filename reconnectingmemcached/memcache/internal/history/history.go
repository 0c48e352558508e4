// Package history is how the processes of a fleet tell each other of the lists of servers before
// the present one, by an item on its servers: a process that has just begun asks and deletes where
// keys were before, as those do that have seen the list change. It is pure: items go in and out,
// and times.
package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/placement"
)

const (
	// Life is how long a list is remembered after it was replaced.
	Life = 24 * time.Hour
	// MaxNames bounds what is remembered: the names of all lists together, unless the latest
	// LeastLists have more.
	MaxNames = 2000
	// LeastLists is how many lists are remembered at least.
	LeastLists = 8
	// Flags are those of the item. Attackers that can choose keys and values of an application's
	// items can seldom choose their flags, too.
	Flags = 0x6c697374

	keyPrefix = "holdfast:lists:"
	version   = "lists 1"
	maxNames  = 1000
	// maxSize bounds the item, well below what servers take.
	maxSize = 256 << 10
	// sameChange is more than how much later than others a process notices that a list was
	// replaced.
	sameChange = time.Minute
)

// List is one that was replaced.
type List struct {
	Names    []string
	Replaced time.Time
}

// Key is that of the item which tells of the lists before this one. Names must be in the order that
// places keys.
func Key(kind placement.Kind, names []string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(int(kind)) + "\n" + strings.Join(names, "\n")))
	return keyPrefix + hex.EncodeToString(sum[:16])
}

// Remembered is how many of some lists, the latest first, there is room for. They are given by how
// many names each has.
func Remembered(sizes []int) int {
	names := 0
	for i, n := range sizes {
		if names += n; names > MaxNames && i >= LeastLists {
			return i
		}
	}
	return len(sizes)
}

func remembered(lists []List) []List {
	sizes := make([]int, len(lists))
	for i, l := range lists {
		sizes[i] = len(l.Names)
	}
	return lists[:Remembered(sizes)]
}

// Fitting are the latest of some lists, as many as an item has room for.
func Fitting(lists []List) []List {
	lists = remembered(lists)
	size := len(version)
	for i, l := range lists {
		if size += len(l.line()); size > maxSize {
			return lists[:i]
		}
	}
	return lists
}

func (l List) line() string {
	return fmt.Sprintf("\n%d %s", l.Replaced.UnixMilli(), strings.Join(l.Names, " "))
}

// Encode words lists as an item's value, the oldest left out if they are too long.
func Encode(lists []List) []byte {
	text := []byte(version)
	for _, l := range Fitting(lists) {
		text = append(text, l.line()...)
	}
	return text
}

var errMalformed = errors.New("memcache: malformed item of former lists")

// Decode reads the lists of a value that were replaced less than Life ago. Valid judges each name.
// Times to come count as now, as clocks differ.
func Decode(text []byte, now time.Time, valid func(name string) error) ([]List, error) {
	if len(text) > maxSize {
		return nil, errMalformed
	}
	first, rest, _ := bytes.Cut(text, []byte{'\n'})
	if string(first) != version {
		return nil, errMalformed
	}
	var lists []List
	var sizes []int
	for line := range bytes.Lines(rest) {
		fields := strings.Split(string(bytes.TrimSuffix(line, []byte{'\n'})), " ")
		if sizes = append(sizes, len(fields)-1); len(fields) < 2 || len(fields) > 1+maxNames || Remembered(sizes) < len(sizes) {
			return nil, errMalformed
		}
		at, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return nil, errMalformed
		}
		for _, name := range fields[1:] {
			if err := valid(name); err != nil {
				return nil, err
			}
		}
		l := List{fields[1:], time.UnixMilli(at)}
		if l.Replaced.After(now) {
			l.Replaced = now
		}
		if now.Sub(l.Replaced) < Life {
			lists = append(lists, l)
		}
	}
	return lists, nil
}

// Add returns known with those of more that are neither there nor the present list, and these
// alone; both with the latest replaced first, and as many as are remembered. One that is there
// counts as new if it was replaced once more, later.
func Add(present []string, known, more []List) (all, added []List) {
	all = slices.Clone(known)
	for _, l := range more {
		switch i := index(all, l.Names); {
		case slices.Equal(l.Names, present):
		case i < 0:
			all = append(all, l)
		case l.replacedAfter(all[i]):
			all[i] = l
		}
	}
	slices.SortStableFunc(all, func(a, b List) int { return b.Replaced.Compare(a.Replaced) })
	all = remembered(all)
	for _, l := range all {
		if i := index(known, l.Names); i < 0 || l.replacedAfter(known[i]) {
			added = append(added, l)
		}
	}
	return all, added
}

func (l List) replacedAfter(other List) bool { return l.Replaced.Sub(other.Replaced) > sameChange }

func index(lists []List, names []string) int {
	return slices.IndexFunc(lists, func(l List) bool { return slices.Equal(l.Names, names) })
}
