package staleness

import (
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/drill"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/promise"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

// What fails, as the index of a server in the record.
const (
	theSource = iota
	theSecond
)

// Rules returns what can be promised, and what holdfast promises of itself.
func Rules() promise.Rules {
	var names []string
	for _, s := range steps() {
		names = append(names, s.Name)
	}
	return promise.Rules{
		Scenario: record.Autorefresh, Default: "errors<1%,p99<400ms,calls<3x,age<1.5x", Phases: names,
		Metrics: append(promise.Common(),
			promise.Metric{Name: "calls", Field: "source_call_ratio", Unit: record.Factor, About: "calls of the source a second, as a multiple of those when it is healthy"},
			// No cache can serve values that its source withholds; when it is back the old values
			// go one by one.
			promise.Metric{Name: "age", Field: "age_ratio", Unit: record.Factor, About: "p99 of the ages of answers, as a multiple of the period", Except: []string{"slow", "dead", "back"}},
			promise.Metric{Name: "old", Field: "too_old_percent", Unit: record.PercentUnit, About: "answers older than 1.1 periods", Except: []string{"slow", "dead", "back"}}),
	}
}

// step is a phase and the action at its beginning.
type step struct {
	drill.Step
	source func(*source) // nil: nothing
	second rig.Action    // "": nothing
	after  string        // what has been done, in words
}

func steps() []step {
	onSource := func(name, title, fault string, act func(*source), after string) step {
		return step{drill.Step{Name: name, Title: title, Fault: fault, Server: theSource}, act, "", after}
	}
	onSecond := func(name, title string, act rig.Action, after string) step {
		return step{drill.Step{Name: name, Title: title, Fault: act.Fault(), Server: theSecond}, nil, act, after}
	}
	return []step{
		{Step: drill.Step{Name: "healthy", Title: "healthy", Server: -1}},
		onSource("slow", "source slow", "slow", (*source).slow, "the source became slow"),
		onSource("dead", "source dead", "dead", (*source).kill, "the source died"),
		onSource("back", "source back", "", (*source).revive, "the source came back"),
		onSecond("killed", "second level killed", rig.Kill, "the second level was killed"),
		onSecond("restarted", "it restarts, empty", rig.Restart, "the second level was restarted"),
		onSecond("hung", "second level hung", rig.Hang, "the second level hung"),
		onSecond("released", "it goes on", rig.Release, "the second level went on"),
	}
}

// Steps returns the phases.
func (s *Staleness) Steps() []drill.Step {
	var all []drill.Step
	for _, step := range s.steps {
		all = append(all, step.Step)
	}
	return all
}
