package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// World is one history.
type World struct {
	now         time.Duration // since the beginning
	rng         *rand.Rand
	queue       queue
	sequence    int
	servers     []*server
	sentinels   []*sentinel
	client      *client
	leader      *failover // that is under way, else nil
	epoch       int64     // config-epoch of the last failover
	truth       *server   // whom the sentinels are to name
	tellTale    bool      // the story is wanted
	story       []string
	failure     string // the first thing that must not happen; empty: none
	steps       int
	announcedAt time.Duration
	over        bool          // all is well again
	trouble     time.Duration // until when the client may be kept from hearing what it should
}

// start is when histories begin.
func start() time.Time { return time.Unix(1_000_000_000, 0) }

// Result is the end of a history.
type Result struct {
	Failure string   // what must not happen, and did; empty: nothing
	Story   []string // if it is wanted
	Steps   int
	Seen    map[[2]follow.Phase]int // transitions taken, from and to
}

// Play plays the history of a seed.
func Play(seed uint64, story bool) (r Result) {
	w := &World{rng: rand.New(rand.NewPCG(seed, 1)), tellTale: story}
	defer func() {
		if p := recover(); p != nil {
			r = Result{Failure: fmt.Sprintf("panic: %v", p), Story: w.story, Steps: w.steps}
		}
	}()
	w.build()
	w.script()
	w.run()
	return Result{Failure: w.failure, Story: w.story, Steps: w.steps, Seen: w.client.seen}
}

// occurrence is something that happens at a time.
type occurrence struct {
	at       time.Duration
	sequence int
	do       func()
}

type queue []occurrence

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].sequence < q[j].sequence
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(occurrence)) } //nolint:forcetypeassert // heap's own
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// after has something happen later.
func (w *World) after(d time.Duration, do func()) {
	w.sequence++
	heap.Push(&w.queue, occurrence{w.now + d, w.sequence, do})
}

// maxSteps bounds a history: what takes more goes round in circles.
const maxSteps = 50_000

// run has everything happen until the end, or until something must not.
func (w *World) run() {
	for len(w.queue) > 0 && w.failure == "" && !w.over {
		o := heap.Pop(&w.queue).(occurrence) //nolint:forcetypeassert // nothing else is in it
		if o.at > end {
			w.client.atEnd()
			return
		}
		w.now = o.at
		o.do()
		w.client.check()
		if w.steps++; w.steps > maxSteps {
			w.fail("more than %d things happen in %v", maxSteps, w.now)
		}
	}
}

func (w *World) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("after %v: %s", w.now, fmt.Sprintf(format, args...))
		w.tell("FAILED: %s", w.failure)
	}
}

// tell adds to the story.
func (w *World) tell(format string, args ...any) {
	if w.tellTale {
		w.story = append(w.story, fmt.Sprintf("%9.3f s  ", w.now.Seconds())+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

// troubled notes that the client may be kept from hearing what it should.
func (w *World) troubled(d time.Duration) { w.trouble = max(w.trouble, w.now+d) }

func (w *World) time() time.Time { return start().Add(w.now) }

// between returns a random time.
func (w *World) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// chance is true so many times of a hundred.
func (w *World) chance(percent int) bool { return w.rng.IntN(100) < percent }

// delay is how long a message takes.
func (w *World) delay() time.Duration { return w.between(200*time.Microsecond, 2*time.Millisecond) }
