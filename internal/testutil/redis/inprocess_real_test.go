package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// What a sentinel says is compared by the roles that those play whom it speaks of: the same
// scenario may have another replica promoted.

// witness collects what the sentinels of a rig say, each line once until it changes.
type witness struct {
	names   *strings.Replacer // of addresses by those who have them
	leader  string            // the address of the sentinel that has selected a replica
	workers sync.WaitGroup
	cancel  context.CancelFunc

	mu     sync.Mutex
	events map[string][]string            // by sentinel
	states map[string]map[string][]string // by sentinel and by whom it speaks of
}

// watch begins to collect. The servers are named by letters, in the order given.
func watch(t *testing.T, sentinels, servers []string) *witness {
	var pairs []string
	for i, addr := range servers {
		letter := string(rune('A' + i))
		host, port, _ := net.SplitHostPort(addr)
		pairs = append(pairs, addr, letter, host+" "+port, letter)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &witness{names: strings.NewReplacer(pairs...), cancel: cancel, events: make(map[string][]string), states: make(map[string]map[string][]string)}
	for _, addr := range sentinels {
		w.states[addr] = make(map[string][]string)
	}
	for _, addr := range sentinels {
		c, at := dialTest(t, nil, addr), dialTest(t, nil, addr)
		check(t, c.Send("PSUBSCRIBE", "*"))
		receive(t, c)
		context.AfterFunc(ctx, func() { _ = c.Close() })
		w.workers.Go(func() { w.listen(c, addr) })
		w.workers.Go(func() { w.poll(ctx, at, addr) })
	}
	t.Cleanup(w.end)
	return w
}

func (w *witness) end() {
	w.cancel()
	w.workers.Wait()
}

// heardBy are the channels that a client of ours subscribes to, as far as they play a part here.
// (Which of them says +convert-to-slave is chance.)
var heardBy = []string{ //nolint:gochecknoglobals // a constant
	"+selected-slave", "+promoted-slave", "+switch-master", "+odown", "+sdown", "-sdown", "+slave", "+failover-end",
}

func (w *witness) listen(c *redis.Conn, addr string) {
	for {
		message, err := c.Receive()
		if err != nil {
			return
		}
		words, _ := message.([]any)
		if len(words) != 4 || !slices.Contains(heardBy, fmt.Sprint(words[2])) {
			continue
		}
		channel, payload := fmt.Sprint(words[2]), fmt.Sprint(words[3])
		payload, _, _ = strings.Cut(payload, " #quorum")
		w.mu.Lock()
		if channel == "+selected-slave" {
			w.leader = addr
		}
		w.events[addr] = append(w.events[addr], channel+" "+w.names.Replace(payload))
		w.mu.Unlock()
	}
}

func (w *witness) poll(ctx context.Context, c *redis.Conn, addr string) {
	for ctx.Err() == nil {
		for _, what := range []string{"MASTER", "REPLICAS", "SENTINELS"} {
			reply, err := c.Do(ctx, "SENTINEL", what, mymaster)
			if err != nil {
				return
			}
			items, _ := reply.([]any)
			if what == "MASTER" {
				items = []any{reply}
			}
			for _, item := range items {
				w.note(addr, what, fieldsOf(item))
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func fieldsOf(reply any) map[string]string {
	flat, _ := reply.([]any)
	fields := make(map[string]string)
	for i := 0; i+1 < len(flat); i += 2 {
		fields[fmt.Sprint(flat[i])] = fmt.Sprint(flat[i+1])
	}
	return fields
}

// fleeting are flags that come and go between two looks: a connection that is opened anew, and the
// steps of a replica that is pointed elsewhere.
var fleeting = regexp.MustCompile(`,(disconnected|master_down|reconf_\w+)`) //nolint:gochecknoglobals // a constant

// note adds a statement, unless it was the last one, or will be corrected in a moment: of whom
// it has just heard a sentinel knows nothing.
func (w *witness) note(sentinel, what string, f map[string]string) {
	whom := w.names.Replace(net.JoinHostPort(f["ip"], f["port"]))
	line := fmt.Sprintf("%s %s", fleeting.ReplaceAllString(f["flags"], ""), f["role-reported"])
	switch {
	case f["runid"] == "" && !strings.Contains(f["flags"], "s_down"):
		return
	case what == "MASTER":
		line = fmt.Sprintf("%s %s epoch %s, %s replicas, %s sentinels", whom, line, f["config-epoch"], f["num-slaves"], f["num-other-sentinels"])
		whom = "primary"
	case what == "SENTINELS":
		whom = "sentinels"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if said := w.states[sentinel][whom]; len(said) == 0 || said[len(said)-1] != line {
		w.states[sentinel][whom] = append(said, line)
	}
}

// account is what one sentinel has said. The new primary is called N, the old one O and the other
// replica X.
type account struct {
	events []string
	states map[string][]string
}

// accounts returns what the leader has said, and what one of the others has. It fails if there was
// no failover.
func (w *witness) accounts() (leader, other account, err error) {
	w.end()
	if w.leader == "" {
		return leader, other, fmt.Errorf("no replica was selected: %q", w.events)
	}
	var of *strings.Replacer
	for _, line := range w.events[w.leader] {
		if rest, ok := strings.CutPrefix(line, "+switch-master "+mymaster+" "); ok {
			third := strings.NewReplacer(rest[:1], "", rest[2:3], "").Replace("ABC")
			of = strings.NewReplacer(rest[:1], "O", rest[2:3], "N", third, "X")
		}
	}
	if of == nil {
		return leader, other, fmt.Errorf("nothing was announced: %q", w.events)
	}
	for addr := range w.states {
		var a account
		for _, line := range w.events[addr] {
			channel, payload, _ := strings.Cut(line, " ")
			a.events = append(a.events, channel+" "+rename(of, payload))
		}
		a.states = make(map[string][]string)
		w.states[addr]["primary"] = epochs(w.states[addr]["primary"])
		for whom, said := range w.states[addr] {
			for _, line := range said {
				a.states[rename(of, whom)] = append(a.states[rename(of, whom)], rename(of, line))
			}
		}
		if addr == w.leader {
			leader = a
			continue
		}
		tries := a.states["primary"] // several may want to lead a failover after a crash, until they hear of one who does
		for i := range tries {
			tries[i] = strings.Replace(tries[i], ",failover_in_progress", "", 1)
		}
		a.states["primary"] = slices.Compact(tries)
		other = a
	}
	return leader, other, nil
}

// epochs puts the first epoch and the second in place of their numbers: after a crash several
// elections may be needed.
func epochs(lines []string) []string {
	number := regexp.MustCompile(`epoch \d+`)
	var seen []string
	for i, line := range lines {
		epoch := number.FindString(line)
		if !slices.Contains(seen, epoch) {
			seen = append(seen, epoch)
		}
		lines[i] = strings.Replace(line, epoch, fmt.Sprintf("epoch no. %d", slices.Index(seen, epoch)+1), 1)
	}
	return lines
}

// rename replaces letters that stand alone.
func rename(of *strings.Replacer, line string) string {
	words := strings.Split(line, " ")
	for i, word := range words {
		if len(word) == 1 {
			words[i] = of.Replace(word)
		}
	}
	return strings.Join(words, " ")
}

// within returns the first of the lines that is not in others in the same order; empty if they all
// are.
func within(lines, others []string) string {
	for _, line := range lines {
		i := slices.Index(others, line)
		if i < 0 {
			return line
		}
		others = others[i+1:]
	}
	return ""
}

// differences returns what the fake says that is no part of what the real one says in the same
// order, and what the real one says that the fake does not, and that is not left out on purpose.
func differences(who string, real, fake account, leftOut *regexp.Regexp) []string {
	var found []string
	compareLines := func(what string, real, fake []string) {
		must := slices.DeleteFunc(slices.Clone(real), func(line string) bool { return leftOut.MatchString(what + ": " + line) })
		if line := within(fake, real); line != "" {
			found = append(found, fmt.Sprintf("%s, %s: the fake says %q, and it is no part of what the real one says:\nfake: %q\nreal: %q", who, what, line, fake, real))
		}
		if line := within(must, fake); line != "" {
			found = append(found, fmt.Sprintf("%s, %s: the real one says %q, and it is no part of what the fake says:\nfake: %q\nreal: %q", who, what, line, fake, real))
		}
	}
	compareLines("events", inKinds(real.events), inKinds(fake.events))
	for whom := range real.states {
		compareLines(whom, real.states[whom], fake.states[whom])
	}
	return found
}

// inKinds sorts the events that come at once, in any order.
func inKinds(events []string) []string {
	events = slices.Clone(events)
	for i := 0; i < len(events); i++ {
		j := i
		for j < len(events) && strings.HasPrefix(events[j], "+slave ") {
			j++
		}
		slices.Sort(events[i:j])
	}
	return events
}

// played is a rig in which a failover can be watched.
type played struct {
	redis.Rig
	servers []string
}

// play has two rigs go through the same, and compares what their sentinels say. What real sentinels
// do is partly chance: a failover that needs two elections, a promotion that is heard of late. The
// fake is to do what the real ones can do, and so there are three tries.
func play(t *testing.T, leftOut string, do func(ctx context.Context, rig redis.Rig) error) {
	t.Helper()
	var found []string
	for try := range 3 {
		t.Run(fmt.Sprint("try ", try+1), func(t *testing.T) { found = playOnce(t, regexp.MustCompile(leftOut), do) })
		if len(found) == 0 {
			return
		}
		t.Logf("try %d:\n%s", try+1, strings.Join(found, "\n"))
	}
	t.Error("three tries, and the real ones never did what the fake does")
}

func playOnce(t *testing.T, leftOut *regexp.Regexp, do func(ctx context.Context, rig redis.Rig) error) []string {
	t.Helper()
	real, fake := bothRigs(t)
	var leader, other [2]account
	var witnesses [2]*witness
	var errs [2]error
	var both sync.WaitGroup
	for i, rig := range []played{real, fake} {
		witnesses[i] = watch(t, rig.SentinelAddrs(), rig.servers)
		both.Go(func() {
			errs[i] = do(t.Context(), rig.Rig)
			time.Sleep(300 * time.Millisecond) // until the last change is seen
		})
	}
	both.Wait()
	for i, w := range witnesses {
		var err error
		if leader[i], other[i], err = w.accounts(); err != nil || errs[i] != nil {
			return []string{fmt.Sprintf("%s: %v", []string{"the real one", "the fake"}[i], errors.Join(errs[i], err))}
		}
	}
	return append(differences("the leader", leader[0], leader[1], leftOut), differences("another", other[0], other[1], leftOut)...)
}

func bothRigs(t *testing.T) (real, fake played) {
	t.Helper()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true})
	p := redis.StartInProcess(t, redis.InProcessOptions{
		DownAfter: 500 * time.Millisecond, Announcement: 300 * time.Millisecond, Spread: 300 * time.Millisecond, Demotion: 2 * time.Second,
	})
	real, fake = played{Rig: c}, played{Rig: p}
	for _, s := range c.Servers(mymaster) {
		real.servers = append(real.servers, s.Addr())
	}
	for _, s := range p.Servers() {
		fake.servers = append(fake.servers, s.Addr())
	}
	return real, fake
}

// The fakes of this process say what real sentinels say: flags in their order, the roles reported,
// epochs, numbers and events, of a failover that was asked for, from the selection until the old
// primary is demoted.
func TestSentinelsOfFakesSayOfAFailoverWhatRealOnesDo(t *testing.T) {
	t.Parallel()
	// Others may hear of the promotion from the replica itself, before its announcement.
	const leftOut = `^N: slave master$`
	play(t, leftOut, func(ctx context.Context, rig redis.Rig) error {
		if err := rig.Failover(ctx, mymaster); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond) // it is under way
		return rig.AwaitSettled(ctx)
	})
}

// The same of a primary that is killed, and that comes back when another has taken its place.
func TestSentinelsOfFakesSayOfACrashWhatRealOnesDo(t *testing.T) {
	t.Parallel()
	// The steps from s_down to o_down and back may be too short to be seen; the dead one is noted
	// again as a replica.
	const leftOut = `^N: slave master$|^primary: O (s_down,master|s_down,o_down,master|s_down,master,failover_in_progress) |^events: [+-]sdown slave O|` +
		`^events: \+[so]down master|^O: s_down,slave|^sentinels: `
	play(t, leftOut, func(ctx context.Context, rig redis.Rig) error {
		if err := rig.KillPrimary(ctx, mymaster); err != nil {
			return err
		}
		for deadline := giveUp(); ; time.Sleep(5 * time.Millisecond) {
			if _, err := rig.PrimaryAddr(ctx, mymaster); err == nil || time.Now().After(deadline) {
				break
			}
		}
		time.Sleep(3 * time.Second) // until all have announced it
		return errors.Join(rig.RestartKilled(), rig.AwaitSettled(ctx))
	})
}
