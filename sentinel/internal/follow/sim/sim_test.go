package sim_test

import (
	"flag"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/internal/follow/sim"
)

//nolint:gochecknoglobals // flags
var (
	histories = flag.Uint64("histories", 2_000, "how many histories are played")
	first     = flag.Uint64("first", 0, "the first seed")
	once      = flag.Bool("once", false, "end with the first history that fails")
)

// failures are the histories that failed, by seed.
type failures struct {
	mu   sync.Mutex
	seed uint64 // the first; guarded by mu
	n    int    // guarded by mu
}

func (f *failures) add(seed uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 || seed < f.seed {
		f.seed = seed
	}
	f.n++
}

func (f *failures) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n > 0
}

// progress is after how many histories a long run says how far it has come.
const progress = 100_000

// Whatever goes wrong, the client does nothing that it must never do, and in the end it finds the
// primary. Each history is played from its seed: `go test ./sentinel/internal/follow/sim -histories
// 10000000`. The first that fails tells its story.
func TestHistories(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	var next, steps atomic.Uint64
	var failed failures
	next.Store(*first)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1) - 1; seed < *first+*histories && (!*once || !failed.any()); seed = next.Add(1) - 1 {
				r := sim.Play(seed, false)
				steps.Add(uint64(r.Steps))
				if r.Failure != "" {
					failed.add(seed)
					t.Logf("history %d: %s", seed, r.Failure) // a long run may be ended before it is over
				}
				if done := seed - *first + 1; done%progress == 0 {
					t.Logf("%d histories", done)
				}
			}
		})
	}
	workers.Wait()
	if failed.any() {
		r := sim.Play(failed.seed, true)
		t.Errorf("%d histories failed. The first:\n%s\nhistory %d: %s", failed.n, strings.Join(r.Story, "\n"), failed.seed, r.Failure)
	}
	t.Logf("%d histories, %d events", *histories, steps.Load())
}

// failed are histories that have failed, or that show a planted defect, of those that are not among
// the first.
func failed() []uint64 {
	return []uint64{
		20106238, 20141226, // the process was stopped as it started, with one sentinel heard that had gone wrong
		20156236,                     // it was stopped, and took a move back before it had read of it
		20096564, 20143363, 20260426, // the leader of a failover died once it had published the promotion
		20305514, 20942120, 20966527, // it was stopped for long, and asked a replica that was somebody else's by then
		50448207,           // it was stopped as it started, before it had heard anybody
		50444979,           // a replica was restarted as a primary, and selected by one that had gone wrong
		20894486,           // sentinels were heard one after another, and none kept its vote
		20712784,           // what a sentinel said before it began a failover was taken for its end
		21704416, 21808881, // others were not asked in the place of one that was doubted, or did not answer
		21772642,                                         // the failover after the present one began before that was announced
		21002069, 21576750, 22453648, 22556102, 30189241, // those who lag behind made a majority with one that had gone wrong
		20340670,             // a move that was taken back, made again, and taken back by one that had gone wrong
		100198536, 100514162, // what most named was doubted, as one that had gone wrong had selected it
		101098443,                           // the same sentinel led two failovers, one after the other
		100475508,                           // a server was dialled that had been taken out, after a stop
		103696510,                           // so was the last primary
		105583747,                           // a replica became the primary and was left while nobody was heard
		103359048,                           // an earlier question took an answer back
		102426407,                           // the process was stopped as it started, and nothing was waited for
		240203374,                           // a failover had begun before the primary was found
		220393341,                           // what had been taken out hid the one that was promoted
		1000005530,                          // SENTINEL RESET took votes
		7001131382,                          // so was one when a move was taken back
		2003662248,                          // an epoch that one told alone, as others were midway, was taken
		281275694,                           // nobody was heard when a move should have been announced
		20000015980,                         // what hung was waited for longer each time, and what was promoted not asked meanwhile
		210000814140,                        // what a fence had taken before a stop did not count
		210002709860,                        // what most named was tried in vain, and not again beside what one announced without end
		210001754565,                        // a replica was given the name for a moment, and selected by one that had gone wrong
		7000121969,                          // what is held is never dropped
		230003191908,                        // the primary between two that were followed was taken for a replica
		16960,                               // a selection was given up with an earlier one
		195353,                              // the next failover had begun before the primary was found, and others announced that late
		300000094193,                        // one that most announced, at the epoch of before, stayed provisional
		436194,                              // a replica that was announced before it answered was provisional, and the next failover overlooked
		360000428326,                        // what most announced at an epoch that had begun anew was provisional, and the next failover overlooked
		360000367800,                        // a fence took longer, as the process was stopped twice
		370000282344,                        // an abort came late, and was of the failover before
		380000045363,                        // a failover had begun as a move was taken back, and was overlooked
		350193,                              // a return counted as the announcement of a move that nobody knew of
		10196,                               // the client began during a failover
		5493,                                // a promotion was undone while no sentinel was heard
		4289,                                // so was one that was told, and the server was lost for a moment
		14490,                               // a connection was held to a replica after its failover was over
		9591,                                // sentinels forgot each other, and one that the client was not given led a failover
		987,                                 // a replica that one announced was lost, and came back as a primary
		8688,                                // one that had gone wrong selected without end, and the process was stopped
		590001021896,                        // the same, and that failover was undone
		590000651699,                        // the same, and one that had gone wrong kept the primary away
		4086,                                // those who lagged behind an announcement led the client back
		624000201593,                        // what had been held for long was announced by one that had gone wrong
		620000423292,                        // one that had gone wrong took a move back, and selected the primary of before
		510000247314,                        // those who lagged a failover behind led the client back
		510000157043,                        // a selection was forgotten while too few were heard to know its replica
		510000377677,                        // a failover from the server that was given the name took that back
		510000219799,                        // of those that were given only one knew the name, and had gone wrong
		500000292626, 500000702292, 1250694, // a failover from a server to which the move was provisional, at no later epoch
		9695,          // a replica was selected and aborted in turn
		390000177332,  // a move was announced by another address, and the next failover overlooked
		370000216606,  // sentinels that forgot the replicas made a majority with one that had gone wrong
		4186,          // a late announcement of a failover that was over had writes wait
		14575,         // a server became the primary and was left while nobody was heard, and one that had gone wrong announced it
		32276,         // a selection was heard before most told of its replica
		8778,          // most announced a move at the epoch of before, and the next failover began while none answered
		51878,         // the same, at an epoch that had begun anew
		683,           // that a server is a replica was read once it was promoted and left, after a stop
		630000920693,  // who led the failover between announced the move back
		640000546393,  // so did those who lagged behind
		640000379396,  // those who lagged behind led the client back as it began
		76173,         // the next selection was heard before the announcement of the failover before it
		129873,        // the same, and that was announced by an event alone
		14385,         // the next failover led back before the client had heard of the one between
		179885,        // the same, at an epoch that had begun anew
		650000049775,  // one that leads a failover gave a move up that had waited for long, as nobody was heard
		640000578393,  // the next failover to the same server began before the move was taken back
		640001013190,  // the same, and the primary was forced away
		640001024487,  // one that had gone wrong had led there, and most began a failover to it
		640002048470,  // sentinels began to tell names before the run id of a new primary was known
		640002401081,  // an operator gave the name to a replica for a moment, and one that had gone wrong selected it
		640002877799,  // the first primary was found after a stop, and a selection was lost by then
		700001099997,  // a promotion was published before the replica had answered, and no sentinel was heard after it
		920000013686,  // a replica that was promoted was lost to most for a moment, and only its announcement was to be followed
		930000512258,  // the same, and its leader was not heard
		930000849002,  // a sentinel was found just after the first decision, and a selection was not followed
		916000067283,  // reports of before a stop answered for a server that was left meanwhile
		960000031697,  // most had published an announcement, its leader had not, and none answered a question
		940000444397,  // the same, and by its name what was selected by its address
		960000203264,  // what most named hung, and what was selected and promoted was not asked again
		980000721293,  // too few took a move back, and it was announced when it returned
		985001009778,  // epochs had begun anew, and most announced a move at several of them
		992000425996,  // the client began during a failover, and one had told an epoch of before
		991000025078,  // sentinels were telling names, and the run id of what was promoted was known from before
		996001130478,  // epochs had begun anew, and one had invented one of the server that was left
		1191000279878, // one sentinel had published a move, and another told it at the epoch of before
		1190000289885, // a selection was kept, and followed by nobody while another server was asked
		1201000890598, // sentinels answered again, and what the first ones had been asked did not count
		1201001022887, // one sentinel had a replica down, and another told a new run id of it
		650000023778,  // one had invented an epoch, and what most announced at the next one was provisional
	}
}

// What has failed once does not again.
func TestHistoriesThatHaveFailed(t *testing.T) {
	for _, seed := range failed() {
		if r := sim.Play(seed, true); r.Failure != "" {
			t.Errorf("%s\nhistory %d: %s", strings.Join(r.Story, "\n"), seed, r.Failure)
		}
	}
}

// The same seed tells the same story.
func TestAHistoryIsItsSeeds(t *testing.T) {
	for seed := range uint64(50) {
		a, b := sim.Play(seed, true), sim.Play(seed, true)
		if strings.Join(a.Story, "\n") != strings.Join(b.Story, "\n") || len(a.Story) == 0 {
			t.Fatalf("history %d has two stories", seed)
		}
	}
}
