// Package groupcache_test checks histories of Gets, Sets and Removes against what groupcache
// promises.
package groupcache_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model is a regular register with several writers. A write is two operations, its begin and
// its end, each of which takes effect at once; between the two a Get may see the value from before
// or the new one, and two Gets need not see them in this order. Its end takes away all values whose
// writes had ended when it began. A write that failed has no end: its value may be seen from then
// on, and takes none away.
//
// Get is one operation. It sees a value of the state at one moment of its own, which is what the
// package promises: the values of writes that did not end before the last write that ended before
// the Get, and of those that began before the Get ended.
type (
	// input is what is done.
	input struct {
		kind    kind
		version int  // of the write
		ends    bool // the write has an end
	}
	kind int
	// state holds what a Get may see.
	state struct {
		values []value
		writes []write
	}
	value struct {
		version int
		settled bool // its write has ended
	}
	// write is one under way.
	write struct {
		version int
		over    []int // the versions that its end takes away
	}
)

const (
	begin kind = iota
	end
	get
)

func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{values: []value{{version: 0, settled: true}}} },
		Step: func(s, in, out any) (bool, any) {
			now, what := s.(state), in.(input)
			switch what.kind {
			case begin:
				return true, now.begun(what)
			case end:
				return true, now.ended(what.version)
			}
			return slices.ContainsFunc(now.values, func(v value) bool { return v.version == out.(int) }), now
		},
		Equal: func(a, b any) bool {
			x, y := a.(state), b.(state)
			return slices.Equal(x.values, y.values) && slices.EqualFunc(x.writes, y.writes, func(v, w write) bool {
				return v.version == w.version && slices.Equal(v.over, w.over)
			})
		},
	}
}

// begun is the state after the begin of a write. The order of the slices does not depend on that of
// the operations.
func (s state) begun(w input) state {
	next := state{values: add(s.values, value{version: w.version}, func(v value) int { return v.version }), writes: s.writes}
	if !w.ends {
		return next
	}
	var over []int
	for _, v := range s.values {
		if v.settled {
			over = append(over, v.version)
		}
	}
	next.writes = add(s.writes, write{w.version, over}, func(w write) int { return w.version })
	return next
}

// add makes a longer slice, ordered by version.
func add[T any](s []T, x T, version func(T) int) []T {
	at, _ := slices.BinarySearchFunc(s, version(x), func(y T, v int) int { return version(y) - v })
	return slices.Insert(slices.Clone(s), at, x)
}

func (s state) ended(version int) state {
	var next state
	var over []int
	for _, w := range s.writes {
		if w.version == version {
			over = w.over
			continue
		}
		next.writes = append(next.writes, w)
	}
	for _, v := range s.values {
		if v.version == version {
			v.settled = true
		}
		if !slices.Contains(over, v.version) {
			next.values = append(next.values, v)
		}
	}
	return next
}

// history records operations in the order of their beginnings and ends.
type history struct {
	clock atomic.Int64

	mu         sync.Mutex
	operations []porcupine.Operation // guarded by mu
	counts     struct{ gets, writes, failed int }
}

func (h *history) tick() int64 { return h.clock.Add(1) }

func (h *history) add(ops ...porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, ops...)
}

// write records a write of a version; do says whether it is known to have succeeded.
func (h *history) write(client, version int, do func() bool) {
	begun := porcupine.Operation{ClientId: client, Call: h.tick(), Return: h.tick()}
	ends := do()
	begun.Input = input{begin, version, ends}
	if h.add(begun); ends {
		h.add(porcupine.Operation{ClientId: client, Input: input{kind: end, version: version}, Call: h.tick(), Return: h.tick()})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.counts.writes++; !ends {
		h.counts.failed++
	}
}

// get records a Get that returned a version. One without a result is no part of the history.
func (h *history) get(client int, do func() (version int, ok bool)) {
	op := porcupine.Operation{ClientId: client, Input: input{kind: get}, Call: h.tick()}
	version, ok := do()
	op.Output, op.Return = version, h.tick()
	if !ok {
		return
	}
	h.add(op)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.gets++
}

// check checks what was recorded.
func (h *history) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Logf("%d Gets, %d writes, %d of which failed", h.counts.gets, h.counts.writes, h.counts.failed)
	switch porcupine.CheckOperationsTimeout(model(), h.operations, time.Minute) {
	case porcupine.Illegal:
		t.Error("a Get saw a value that was not allowed any more")
	case porcupine.Unknown:
		t.Error("the history could not be checked in a minute")
	}
}

func TestTheModelAllowsWhatIsPromisedAndNoMore(t *testing.T) {
	begins := func(version int, at int64) porcupine.Operation {
		return porcupine.Operation{Input: input{begin, version, true}, Call: at, Return: at}
	}
	fails := func(version int, at int64) porcupine.Operation {
		return porcupine.Operation{Input: input{begin, version, false}, Call: at, Return: at}
	}
	ends := func(version int, at int64) porcupine.Operation {
		return porcupine.Operation{Input: input{kind: end, version: version}, Call: at, Return: at}
	}
	sees := func(version int, from, to int64) porcupine.Operation {
		return porcupine.Operation{Input: input{kind: get}, Output: version, Call: from, Return: to}
	}
	type ops = []porcupine.Operation
	for what, c := range map[string]struct {
		history ops
		allowed bool
	}{
		"the value before":                         {ops{sees(0, 1, 2)}, true},
		"a value never written":                    {ops{sees(1, 1, 2)}, false},
		"to and fro during a write":                {ops{begins(1, 1), sees(1, 2, 3), sees(0, 4, 5), sees(1, 6, 7), ends(1, 8)}, true},
		"the old one after a write":                {ops{begins(1, 1), ends(1, 2), sees(0, 3, 4)}, false},
		"the old one in a Get begun before":        {ops{begins(1, 1), sees(0, 2, 5), ends(1, 3)}, true},
		"the new one in a Get begun before":        {ops{sees(1, 1, 3), begins(1, 2), ends(1, 4)}, true},
		"the new one too early":                    {ops{sees(1, 1, 2), begins(1, 3), ends(1, 4)}, false},
		"either of two writes at once, both":       {ops{begins(1, 1), begins(2, 2), ends(2, 3), ends(1, 4), sees(1, 5, 6), sees(2, 7, 8), sees(1, 9, 10)}, true},
		"the old one of two writes at once":        {ops{begins(1, 1), begins(2, 2), ends(2, 3), sees(0, 4, 5), ends(1, 6)}, false},
		"after a third write, that of the first":   {ops{begins(1, 1), ends(1, 2), begins(2, 3), begins(3, 4), ends(3, 5), sees(1, 6, 7)}, false},
		"what failed may be seen":                  {ops{fails(1, 1), sees(1, 2, 3), sees(0, 4, 5)}, true},
		"what failed may be seen late":             {ops{fails(1, 1), begins(2, 2), ends(2, 3), sees(1, 4, 5), sees(2, 6, 7)}, true},
		"what a write took away before a failure":  {ops{begins(1, 1), ends(1, 2), fails(2, 3), sees(0, 4, 5)}, false},
		"what failed takes nothing away, nor back": {ops{begins(1, 1), ends(1, 2), fails(2, 3), sees(1, 4, 5), begins(3, 6), ends(3, 7), sees(1, 8, 9)}, false},
	} {
		if got := porcupine.CheckOperations(model(), c.history); got != c.allowed {
			t.Errorf("%s: allowed %v, want %v", what, got, c.allowed)
		}
	}
}
