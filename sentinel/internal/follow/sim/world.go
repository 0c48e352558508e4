package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// World is one history.
type World struct {
	now         time.Duration // since the beginning
	rng         *rand.Rand
	queue       queue
	wake        occurrence // the client's, if there is one
	sequence    int
	servers     []*server
	sentinels   []*sentinel
	client      *client
	leader      *failover // that is under way, else nil
	epoch       int64     // config-epoch of the last failover
	said        int64     // the latest that one which has not gone wrong has told
	truth       *server   // whom the sentinels are to name
	spite       bool      // the first sentinel, which has gone wrong, acts when that is worst
	tellTale    bool      // the story is wanted
	story       []string
	failure     string // the first thing that must not happen; empty: none
	steps       int
	announcedAt time.Duration
	ledAt       time.Duration // when a sentinel said last that it leads a failover
	monitoredAt time.Duration // when the name was last given to another server
	promotions  int           // how many there were
	lag         time.Duration // after which sentinels hear of a failover at the earliest; 0: at once
	identities  int           // how many processes have been given a new id
	over        bool          // all is well again
	knownAt     time.Duration // when the last sentinel knows the name again that did not
	lonely      time.Duration // until when no sentinel knows the others
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
	w := &World{rng: rand.New(rand.NewPCG(seed, 1)), tellTale: story, announcedAt: -time.Minute, monitoredAt: -time.Minute}
	defer func() {
		if p := recover(); p != nil {
			r = Result{Failure: fmt.Sprintf("panic: %v", p), Story: w.story, Steps: w.steps}
		}
	}()
	w.build()
	w.script(seed % 100)
	w.seldom(seed % 100)
	w.run()
	return Result{Failure: w.failure, Story: w.story, Steps: w.steps, Seen: w.client.seen}
}

// occurrence is something that happens at a time.
type occurrence struct {
	at       time.Duration
	sequence int
	do       func()
}

func (o occurrence) before(p occurrence) bool {
	return o.at < p.at || o.at == p.at && o.sequence < p.sequence
}

// queue is a heap of coming events. That of container/heap takes twice the time.
type queue []occurrence

func (q *queue) push(o occurrence) {
	all := append(*q, o)
	i := len(all) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !o.before(all[up]) {
			break
		}
		all[i] = all[up]
		i = up
	}
	all[i] = o
	*q = all
}

func (q *queue) pop() occurrence {
	all := *q
	first, o := all[0], all[len(all)-1]
	all[len(all)-1] = occurrence{}
	all = all[:len(all)-1]
	*q = all
	if len(all) == 0 {
		return first
	}
	i := 0
	for {
		least := 2*i + 1
		if least >= len(all) {
			break
		}
		if least+1 < len(all) && all[least+1].before(all[least]) {
			least++
		}
		if !all[least].before(o) {
			break
		}
		all[i] = all[least]
		i = least
	}
	all[i] = o
	return first
}

// after has something happen later.
func (w *World) after(d time.Duration, do func()) {
	w.sequence++
	w.queue.push(occurrence{w.now + d, w.sequence, do})
}

// wakeAt has the client woken at a time, in place of the time before.
func (w *World) wakeAt(d time.Duration) {
	w.sequence++
	w.wake = occurrence{w.now + d, w.sequence, w.client.tick}
}

// next takes what comes next.
func (w *World) next() occurrence {
	if w.wake.do != nil && (len(w.queue) == 0 || w.wake.before(w.queue[0])) {
		o := w.wake
		w.wake = occurrence{}
		return o
	}
	return w.queue.pop()
}

// maxSteps bounds a history: what takes more goes round in circles.
const maxSteps = 50_000

// run has everything happen until the end, or until something must not.
func (w *World) run() {
	for len(w.queue) > 0 && w.failure == "" && !w.over {
		o := w.next()
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

// identity is a new run id.
func (w *World) identity(addr string) string {
	w.identities++
	return addr + "-" + strconv.Itoa(w.identities)
}

// server finds one by an address or a name.
func (w *World) server(addr string) *server {
	for _, s := range w.servers {
		if s.addr == addr || s.name == addr {
			return s
		}
	}
	return nil
}

func (w *World) time() time.Time { return start().Add(w.now) }

// between returns a random time.
func (w *World) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

// chance is true so many times of a hundred.
func (w *World) chance(percent int) bool { return w.rng.IntN(100) < percent }

// delay is how long a message takes.
func (w *World) delay() time.Duration { return w.between(200*time.Microsecond, 2*time.Millisecond) }
