package matrix_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

//nolint:gochecknoglobals // test flags.
var (
	soak     = flag.Duration("soak", 0, "how long faults are drawn by chance; 0: one round")
	soakSeed = flag.Uint64("soak-seed", 0, "seed of the faults; 0: by chance")
)

// TestSoak has all packages in one process meet with faults drawn by chance, one or two at a time,
// with no pause to heal in between. Calls stay bounded, end as documented, and no write is lost
// that was said to be done; after each round everything works again.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("faults of -soak-seed %d", seed)
	end := time.Now().Add(*soak)
	for round := uint64(0); round == 0 || time.Now().Before(end); round++ {
		t.Run("", func(t *testing.T) {
			for i, s := range subjects() {
				chance := rand.New(rand.NewPCG(seed+round, uint64(i)))
				t.Run(strings.NewReplacer(" ", "-", ",", "").Replace(s.name), func(t *testing.T) {
					t.Parallel()
					soakRound(t, s.open(t, surroundings{}), chance)
				})
			}
		})
		if t.Failed() {
			t.Fatalf("again with -soak-seed %d", seed+round)
		}
	}
}

func soakRound(t *testing.T, s *subject, chance *rand.Rand) {
	t.Helper()
	defer s.close()
	await(t, "answer before the faults", s)
	ledger := keepLedger(t, s)
	ledger.awaitFirst(t)
	all := ofTheWay()
	for step := range 4 {
		first, second := all[chance.IntN(len(all))], all[chance.IntN(len(all))]
		length := 100*time.Millisecond + time.Duration(chance.Int64N(int64(900*time.Millisecond)))
		t.Logf("%s, then also %s, %v each", first.name, second.name, length.Round(time.Millisecond))
		first.begin(t, s)
		s.load(t, length)
		second.begin(t, s)
		s.load(t, length)
		if step == 3 {
			ledger.halt()
		}
		if chance.IntN(2) == 0 {
			first, second = second, first
		}
		first.end(t, s)
		s.load(t, length/2)
		second.end(t, s)
		s.load(t, length/4)
	}
	s.way.heal()
	await(t, "answer after the faults", s)
	ledger.check(t)
}

// A soak may draw a fault that is there already, or was: the second time that packets were to be
// dropped, the way was not left, and its address was in use.
func TestFaultsComeAgain(t *testing.T) {
	t.Parallel()
	for _, f := range ofTheWay() {
		s := memcached(t, surroundings{})
		f.begin(t, s)
		f.begin(t, s)
		f.end(t, s)
		f.end(t, s)
		f.begin(t, s)
		f.end(t, s)
		s.way.heal()
		await(t, "answer after twice: "+f.name, s)
		s.close()
	}
}
