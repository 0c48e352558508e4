package memcachedstore

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

const (
	// mostBehind is how many entries of the journal are read at most: a reader that has missed more
	// looks all up.
	mostBehind = 1024
	// patience is how long an entry is waited for whose number was given out: its writer
	// may be gone.
	patience = time.Second
	// entryTTL is how long entries stay. A reader that is later finds that they are
	// missing.
	entryTTL = time.Minute
	// maxEntry bounds the names in one entry, in bytes.
	maxEntry = 64 << 10
	// mostPending is how many names wait to be written. If there are more, the next entry says that
	// all may have changed.
	mostPending = 4096
)

// The journal says which keys have changed. Its version is a counter that each change takes a
// number from; under the number is an entry with the names of the keys, which is written after the
// change. A counter that is made anew, because memcached has lost it, begins at the time: so nobody
// takes it for the old one.

// reading is how far a process has read the journal. It decides, and neither reads nor waits.
type reading struct {
	known bool // last is one that the counter had
	last  uint64
	holes map[uint64]time.Time // entries that were not there yet, and until when they are waited for
}

// advance takes note of the counter, and returns which entries are to be read. Gap tells that
// changes may have been missed.
func (r *reading) advance(newest uint64, now time.Time) (entries []uint64, gap bool) {
	if !r.known || newest < r.last || newest-r.last > mostBehind {
		*r = reading{known: true, last: newest}
		return nil, true
	}
	for n := range r.holes {
		entries = append(entries, n)
	}
	slices.Sort(entries)
	for r.last < newest {
		r.last++
		entries = append(entries, r.last)
		if r.holes == nil {
			r.holes = make(map[uint64]time.Time)
		}
		r.holes[r.last] = now.Add(patience)
	}
	return entries, false
}

// noteRead takes note of entries that were read, and reports whether one is given up that was not
// there.
func (r *reading) noteRead(entries []uint64, now time.Time) (gap bool) {
	for _, n := range entries {
		delete(r.holes, n)
	}
	for n, until := range r.holes {
		if !now.Before(until) {
			delete(r.holes, n)
			gap = true
		}
	}
	return gap
}

// lose notes that the counter is not known any more.
func (r *reading) lose() { r.known = false }

// seal makes the bytes of an entry, of the first of some names, and returns the others.
func seal(names []string) (data []byte, rest []string) {
	for i, name := range names {
		if i > 0 && len(data)+len(name) > maxEntry {
			return data, names[i:]
		}
		data = binary.AppendUvarint(data, uint64(len(name)))
		data = append(data, name...)
	}
	return data, nil
}

// open returns the names of an entry; none are all. It is false for what seal does not make.
func open(data []byte) (names []string, ok bool) {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return nil, false
		}
		names = append(names, string(data[n:n+int(size)]))
		data = data[n+int(size):]
	}
	return names, true
}

// pending are the names that are still to be announced. It is safe for concurrent use.
type pending struct {
	mu    sync.Mutex
	names []string // guarded by mu
	all   bool     // there were too many; guarded by mu
}

func (p *pending) add(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names)+len(names) > mostPending {
		p.names, p.all = nil, true
		return
	}
	p.names = append(p.names, names...)
}

func (p *pending) addAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = true
}

func (p *pending) take() (names []string, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	names, all = p.names, p.all
	p.names, p.all = nil, false
	return names, all
}
