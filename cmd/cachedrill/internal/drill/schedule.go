package drill

import (
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

// step is a phase and what is done to a server at its begin.
type step struct {
	name, title string
	action      rig.Action // "": nothing
	server      int        // -1: none
}

// past says what the step has made of its server.
func (s step) past() string {
	if s.action == rig.Hang {
		return "hung"
	}
	return "was " + s.name
}

// schedule returns the steps of a drill on servers that can be broken, or the single step of one that cannot.
func schedule(r *rig.Rig) []step {
	if !r.Breakable() {
		return []step{{"load", "load, no faults", "", -1}}
	}
	last := len(r.Kinds) - 1
	first, second, third := 0, min(1, last), min(2, last)
	steps := []step{
		{"healthy", "healthy", "", -1},
		{"killed", rig.Name(first) + " killed", rig.Kill, first},
		{"restarted", rig.Name(first) + " restarted", rig.Restart, first},
		{"hung", rig.Name(second) + " hung", rig.Hang, second},
		{"released", rig.Name(second) + " released", rig.Release, second},
	}
	if r.Proxied {
		steps = append(steps,
			step{"slowed", rig.Name(third) + " slow", rig.Slow, third},
			step{"sped up", rig.Name(third) + " fast again", rig.Fast, third},
			step{"cut", "connections to " + rig.Name(first) + " cut", rig.Cut, first})
	}
	return append(steps, step{"recovered", "healthy again", "", -1})
}

// plan returns the phases of the steps, equally long, as they are before they begin.
func plan(steps []step, total time.Duration) []record.Phase {
	each := total.Seconds() / float64(len(steps))
	phases := make([]record.Phase, len(steps))
	for i, s := range steps {
		phases[i] = record.Phase{
			Name: s.name, Title: s.title, Fault: s.action.Fault(), Server: s.server,
			Start: float64(i) * each, End: float64(i+1) * each,
		}
	}
	return phases
}
