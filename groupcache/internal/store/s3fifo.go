package store

// s3fifo is the policy of that name. What is new enters the small queue. What leaves that is remembered as a ghost, unless it was read
// again: then it moves to the main queue, as does what comes back while its ghost is remembered. What reaches the end of the main queue
// goes round again, once for each use.
type s3fifo struct {
	costs       costs
	small, main queue
	ghosts      ghosts
}

const (
	// The small queue has one in smallPart of what is stored.
	smallPart = 10
	// promoted is how many uses take an entry from the small queue to the main one.
	promoted = 2
	// maxMoves bounds how many entries one eviction moves to the main queue, or round in it, as writers wait meanwhile. Then the next
	// one goes, used or not.
	maxMoves = 256
)

func newS3FIFO(c costs) *s3fifo {
	f := &s3fifo{costs: c}
	f.clear()
	return f
}

func (f *s3fifo) add(e *entry) {
	if f.ghosts.take(e.hash, f.count()) {
		f.push(e, inMain)
		return
	}
	f.push(e, inSmall)
}

func (f *s3fifo) replace(e *entry, was place) { f.push(e, was) }

func (f *s3fifo) count() int { return f.small.count + f.main.count }

func (f *s3fifo) queue(p place) *queue {
	if p == inSmall {
		return &f.small
	}
	return &f.main
}

func (f *s3fifo) push(e *entry, to place) {
	e.where = to
	f.queue(to).push(e, f.costs.ofEntry(e))
}

func (f *s3fifo) remove(e *entry) {
	f.queue(e.where).remove(e, f.costs.ofEntry(e))
}

func (f *s3fifo) victim() *entry {
	count := f.count()
	for moves := 0; moves < maxMoves && f.smallIsOver(); moves++ {
		e := f.small.first()
		if e == nil {
			return nil
		}
		f.remove(e)
		if e.used() < promoted {
			f.ghosts.remember(e.hash, count)
			return e
		}
		e.fade(mostUses)
		f.push(e, inMain)
	}
	return f.mainVictim()
}

func (f *s3fifo) smallIsOver() bool {
	return f.main.count == 0 || f.small.cost > (f.small.cost+f.main.cost)/smallPart
}

func (f *s3fifo) mainVictim() *entry {
	e := f.main.first()
	for moves := 0; moves < maxMoves && e.used() > 0; moves++ {
		e.fade(1)
		f.main.renew(e)
		e = f.main.first()
	}
	f.remove(e)
	return e
}

func (f *s3fifo) clear() {
	f.small.init()
	f.main.init()
	f.ghosts = ghosts{}
}
