package follow

import "time"

// View is a snapshot of a State.
type View struct {
	Phase    Phase
	Addr     string // of the primary, or of the one to try
	Last     string // that served last
	Epoch    int64
	Since    time.Time // when it began to serve, or when there was none any more
	Cause    error     // of the last try to find one that failed
	Settled  bool      // enough has been heard for a first decision
	Reports  int       // that count
	Owners   int       // run ids of sentinels that are remembered
	Replicas []Replica // that most sentinels name, and that may be used
}

// View returns a snapshot.
func (s *State) View() View {
	reports := s.fresh()
	return View{
		Phase: s.phase, Addr: s.primary.addr, Last: s.primary.last, Epoch: s.primary.epoch, Since: s.primary.since, Cause: s.primary.cause,
		Settled: s.voters.settled(s.now), Reports: len(reports), Owners: len(s.voters.owners), Replicas: s.replicas(reports),
	}
}
