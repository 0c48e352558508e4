package peer

import "sync"

// crew runs work in the background, a bounded number at once: a list of peers may have thousands of
// addresses, of which nobody answers. Its zero value is ready, and safe for concurrent use.
type crew struct {
	all sync.WaitGroup

	mu      sync.Mutex
	queue   []func() // guarded by mu
	working int      // guarded by mu
}

// crewSize is how much work is done at once.
const crewSize = 256

// run does a task when there is somebody for it.
func (c *crew) run(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.working == crewSize {
		c.queue = append(c.queue, task)
		return
	}
	c.working++
	c.all.Go(func() { c.work(task) })
}

// work does one task after the other. Another worker goes on if a task has ended the goroutine.
func (c *crew) work(task func()) {
	defer func() {
		if task == nil {
			return
		}
		if task = c.next(); task != nil {
			c.all.Go(func() { c.work(task) })
		}
	}()
	for task != nil {
		task()
		task = c.next()
	}
}

// next is the next task, nil if there is none.
func (c *crew) next() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.working--
		c.queue = nil
		return nil
	}
	task := c.queue[0]
	c.queue = c.queue[1:]
	return task
}

// wait waits until all is done.
func (c *crew) wait() { c.all.Wait() }
