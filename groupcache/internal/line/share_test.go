package line_test

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// Of 64 Gets of 1 MB over 10 MB/s half were given up while they waited for their turn, although the
// peer sent all the time: it was taken for silent, and the values were loaded once more.
func TestAnswersThatWaitForTheirTurnAreNotGivenUp(t *testing.T) {
	for what, size := range map[string]int{"long ones": 1 << 20, "short ones": 30 << 10} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				l := newLine(t, drip{client, 10 << 20})
				answer(t, server, &local{find: func(string) (string, bool) { return strings.Repeat("x", size), true }})
				begun := time.Now()
				var all sync.WaitGroup
				for range 64 << 20 / size {
					all.Go(func() {
						q := wire.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}
						a, first, err := l.Get(t.Context(), q, nil, nil)
						if err != nil || len(a.Value) != size {
							t.Errorf("%d bytes, %v after %v", len(a.Value), err, time.Since(begun))
						}
						if first > 100*time.Millisecond { // or peers would be believed to be far away
							t.Errorf("the peer was first heard of after %v", first)
						}
					})
				}
				all.Wait()
				if took := time.Since(begun); took < 5*time.Second {
					t.Errorf("it has taken %v: none has waited", took)
				}
			})
		})
	}
}

// A Get waits for the values that were set before it. Its peer was taken for silent meanwhile.
func TestAGetBehindManySetsIsNotGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		l := newLine(t, client)
		answer(t, drip{server, 10 << 20}, &local{find: func(string) (string, bool) { return "v", true }})
		value := strings.Repeat("x", 30<<10)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				for range 10 {
					if err := l.Set(t.Context(), "g", "k", value, 0, nil, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		longest := time.Duration(0)
		for range 50 {
			begun := time.Now()
			if _, _, err := l.Get(t.Context(), wire.Question{Group: "g", Key: "k", Silence: 30 * time.Millisecond}, nil, nil); err != nil {
				t.Errorf("%v after %v", err, time.Since(begun))
			}
			longest = max(longest, time.Since(begun))
			time.Sleep(20 * time.Millisecond)
		}
		all.Wait()
		if longest < 100*time.Millisecond {
			t.Errorf("the longest Get has taken %v: none has waited", longest)
		}
	})
}

// What is sent to others keeps a caller only as long as it may stand before its own answer.
func TestAnswersToOthersKeepNoCallerForEver(t *testing.T) {
	const silence = 30 * time.Millisecond
	piece := eight + strings.Repeat("x", 32<<10-len(eight))
	for what, c := range map[string]struct {
		size  int // of what is sent for another caller, until the one that is forgotten is given up
		pause time.Duration
		ended time.Duration // when all that comes has come, 0 for never
		later bool          // the other one has asked after the one that is forgotten
		least time.Duration
		most  time.Duration
	}{
		"nothing":                      {size: 0, pause: time.Second, least: silence, most: 100 * time.Millisecond},
		"a stall after a while":        {size: len(piece), pause: 200 * time.Millisecond, ended: 3 * time.Second, least: 3 * time.Second, most: 4 * time.Second},
		"a byte now and then":          {size: 9, pause: 10 * time.Millisecond, least: silence, most: time.Second},
		"too little of it":             {size: 2 << 10, pause: 100 * time.Millisecond, least: silence, most: 2 * time.Second},
		"always those asked later":     {size: len(piece), pause: 10 * time.Millisecond, later: true, least: silence, most: 10 * time.Second},
		"pieces of one asked before":   {size: len(piece), pause: 200 * time.Millisecond, ended: 20 * time.Second, least: 20 * time.Second, most: 21 * time.Second},
		"more of one than it may have": {size: len(piece), pause: 10 * time.Millisecond, least: time.Second, most: 3 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := make(chan uint32, 8)
				l, say, done := bubbled(t, func(stream uint32) []byte {
					asked <- stream
					return nil
				})
				defer done()
				other := func() uint32 {
					go func() { _, _ = ask(t.Context(), l, "other") }()
					return <-asked
				}
				stream := other()
				begun := time.Now()
				given := make(chan error, 1)
				go func() {
					_, _, err := l.Get(t.Context(), wire.Question{Key: "k", Silence: silence}, nil, nil)
					given <- err
				}()
				<-asked
				for waiting := true; waiting; {
					if c.size > 0 && (c.ended == 0 || time.Since(begun) < c.ended) {
						flag := byte(rawMore)
						if c.later {
							stream, flag = other(), 0
						}
						say(raw(rawValue, flag, stream, piece[:c.size]))
					}
					select {
					case err := <-given:
						if !errors.Is(err, wire.ErrSilent) {
							t.Error(err)
						}
						waiting = false
					case <-time.After(c.pause):
						waiting = time.Since(begun) < 5*time.Minute
					}
				}
				if took := time.Since(begun); took < c.least || took > c.most+c.pause {
					t.Errorf("given up after %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}
