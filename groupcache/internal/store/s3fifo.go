package store

// s3fifo is S3-FIFO with two additions, which it needs where keys are read again at a distance.
//
// New entries enter the small queue. What reaches the end of it goes on to the main queue if it
// was read meanwhile; else it leaves, and is remembered as a ghost. What reaches the end of the
// main queue goes round again if it was read meanwhile; else it leaves, as a ghost of that queue.
//
// A ghost that comes back has been read at a distance. It goes to the main queue only if it was
// read later than what leaves that next: then it is the better one of the two (LIRS compares so).
// And the share of the small queue grows while keys come back that have just left it, and shrinks
// while keys come back that have just left the main queue (as in ARC): where reads are recent ones,
// the small queue becomes nearly all, and the store comes close to LRU.
//
// The main queue takes what leaves the small one unread, too, as long as it has less than its
// share: in a loop over more keys than there is room for, it keeps some of them.
type s3fifo struct {
	costs       costs
	small, main queue
	share       float64 // of the small queue
	clock       ticker  // counts additions
	left        ghosts  // of the small queue
	leftMain    ghosts  // of the main queue
}

const (
	// The small queue begins with firstShare of the entries, and has leastShare to mostShare.
	firstShare = 0.05
	leastShare = 0.01
	mostShare  = 0.98
	// step is how many entries the small queue grows or shrinks by at once.
	step = 2
	// Ghosts move the share while they are young: among the last n/young that have left, or
	// fewYoung.
	young    = 10
	fewYoung = 8
	// ticks is how often the clock ticks while as much is added as there is.
	ticks = 64
	// maxMoves bounds how many entries one eviction moves to the main queue, or round in it, as
	// writers wait meanwhile. Then the next one goes, used or not.
	maxMoves = 256
)

func newS3FIFO(c costs) *s3fifo {
	f := &s3fifo{costs: c}
	f.clear()
	return f
}

func (f *s3fifo) add(e *entry) {
	f.clock.count(f.count() / ticks)
	to := inSmall
	n := f.count()
	if g, ok := f.left.take(e.hash, smallGhosts(n)); ok {
		f.grow(g, step)
		to = f.comesBackTo(g)
	} else if g, ok := f.leftMain.take(e.hash, mainGhosts(n)); ok {
		f.grow(g, -step)
		to = f.comesBackTo(g)
	}
	f.push(e, to)
	for moves := 0; moves < 2 && f.mainHasRoom(); moves++ {
		f.promote(f.small.first())
	}
}

// smallGhosts and mainGhosts are how many keys are remembered that have left a queue, of n entries.
func smallGhosts(n int) int { return n + n/2 }

func mainGhosts(n int) int { return max(n/young, fewYoung) }

// grow gives the small queue room for some entries more, if a key that comes back has left lately.
func (f *s3fifo) grow(g ghost, entries float64) {
	n := f.count()
	if n == 0 || g.age > max(n/young, fewYoung) {
		return
	}
	one := 1 / float64(n)
	f.share = min(max(f.share+entries*one, leastShare, one), mostShare)
}

// comesBackTo is the queue that the key of a ghost comes back to.
func (f *s3fifo) comesBackTo(g ghost) place {
	if v := f.hand(); v != nil && f.clock.since(g.seen) >= f.clock.since(v.seen) {
		return inSmall
	}
	return inMain
}

func (f *s3fifo) replace(e, old *entry) { f.push(e, old.where) }

func (f *s3fifo) count() int { return f.small.count + f.main.count }

// mean is the mean cost of an entry.
func (f *s3fifo) mean() int64 { return (f.small.cost + f.main.cost) / int64(max(1, f.count())) }

func (f *s3fifo) queue(p place) *queue {
	if p == inSmall {
		return &f.small
	}
	return &f.main
}

// push puts an entry at the end of a queue, as one that is used now.
func (f *s3fifo) push(e *entry, to place) {
	e.where, e.seen = to, f.clock.now
	f.queue(to).push(e, f.costs.ofEntry(e))
}

func (f *s3fifo) remove(e *entry) {
	f.queue(e.where).remove(e, f.costs.ofEntry(e))
}

// promote moves an entry from the small queue to the end of the main one.
func (f *s3fifo) promote(e *entry) {
	seen := e.seen
	f.remove(e)
	f.push(e, inMain)
	if !e.used() {
		e.seen = seen
	}
	e.fade()
}

func (f *s3fifo) victim(incoming int64) *entry {
	for moves := 0; moves < maxMoves && f.smallIsOver(incoming); moves++ {
		e := f.small.first()
		if !e.used() && !f.mainHasRoom() {
			f.left.remember(e, smallGhosts(f.count()))
			f.remove(e)
			return e
		}
		f.promote(e)
	}
	v := f.hand()
	if v != nil {
		f.leftMain.remember(v, mainGhosts(f.count()))
		f.remove(v)
	}
	return v
}

// target is what the entries of the small queue are to cost.
func (f *s3fifo) target() int64 { return int64(f.share * float64(f.small.cost+f.main.cost)) }

// smallIsOver reports whether the small queue has more than its share, or will have, with an entry
// that costs more than others do.
func (f *s3fifo) smallIsOver(incoming int64) bool {
	return f.small.count > 0 && (f.main.count == 0 || f.small.cost+max(0, incoming-f.mean()) > f.target())
}

// mainHasRoom reports whether the next one to leave the small queue fits into the share of the main
// queue.
func (f *s3fifo) mainHasRoom() bool {
	e := f.small.first()
	return e != nil && f.small.cost > f.target()+f.mean() && f.small.cost-f.costs.ofEntry(e) > f.target()
}

// hand lets used entries go round in the main queue, and returns the one that leaves it next, nil
// if there is none.
func (f *s3fifo) hand() *entry {
	e := f.main.first()
	for moves := 0; e != nil && moves < maxMoves && e.used(); moves++ {
		e.fade()
		e.seen = f.clock.now
		f.main.renew(e)
		e = f.main.first()
	}
	return e
}

func (f *s3fifo) clear() {
	f.small.init()
	f.main.init()
	f.share = firstShare
	f.left, f.leftMain = ghosts{}, ghosts{}
}
