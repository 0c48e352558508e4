package sim

import (
	"time"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
)

// serverDied, serverSilent, serverHeard and serverDemoted are what the heartbeat finds.
func (c *client) serverDied(s *server) {
	if l := c.serving; l != nil && l.to == s {
		term := c.term
		c.world.after(c.world.delay(), func() {
			if c.serving == l && c.term == term {
				c.step(follow.Died{Term: term, Err: errEOF})
			}
		})
	}
}

func (c *client) serverSilent(s *server) {
	l, w, term := c.serving, c.world, c.term
	if l == nil || l.to != s {
		return
	}
	w.after(heartbeat, func() {
		if c.serving == l && c.term == term && s.alive && !s.answers() {
			c.step(follow.Silent{Term: term, For: heartbeat})
		}
	})
}

func (c *client) serverHeard(s *server) {
	if l := c.serving; l != nil && l.to == s && s.answers() && !l.dead {
		if s.primary {
			c.question()
		} else {
			c.serverDemoted(s)
		}
	}
}

func (c *client) serverDemoted(s *server) {
	if l := c.serving; l != nil && l.to == s && s.answers() && !l.dead {
		term := c.term
		c.world.after(c.world.between(0, 100*time.Millisecond), func() {
			if c.serving == l && c.term == term && !s.primary {
				c.step(follow.Died{Term: term, Err: follow.ErrDemoted})
			}
		})
	}
}

// swallow has all that is sent to the primary on old connections lost, unseen. Others can be
// opened.
func (c *client) swallow() {
	l, w, term := c.serving, c.world, c.term
	if l == nil || !l.to.answers() || c.held {
		return
	}
	w.tell("what is sent on the connections to %s is swallowed", l.to.addr)
	w.troubled(2 * time.Second)
	l.dead = true
	w.after(heartbeat, func() {
		if c.serving == l && c.term == term {
			c.step(follow.Silent{Term: term, For: heartbeat})
		}
	})
}

// loseFlow ends the commands' connection and nothing else.
func (c *client) loseFlow() {
	l, w := c.serving, c.world
	if l == nil || !l.to.answers() || c.held {
		return
	}
	w.tell("the commands' connection is lost")
	c.step(follow.Ended{Link: l.number, At: w.time(), Err: errEOF})
	c.question()
}
