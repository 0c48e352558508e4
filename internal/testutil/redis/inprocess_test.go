package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// A failover that has been asked for is under way, though its first step is due: a sentinel that
// was asked twice said OK twice, and two failovers came of it.
func TestInProcessAnnouncesAFailover(t *testing.T) {
	inBubble(t, func(t *testing.T, network *redis.FakeNet) {
		o := fastModel()
		o.Demotion = 3 * time.Second
		p := network.InProcess(o)
		t.Cleanup(func() { check(t, p.Close()) })
		ctx := t.Context()
		var logs []*redis.Conn
		for _, addr := range p.SentinelAddrs() {
			c := dialTest(t, network, addr)
			check(t, c.Send("PSUBSCRIBE", "*"))
			if got := receive(t, c); got != "[psubscribe * 1]" {
				t.Fatal(got)
			}
			logs = append(logs, c)
		}
		old := p.Servers()[0].Addr()
		begin := time.Now()
		leader := dialTest(t, network, p.SentinelAddrs()[1])
		want(t, leader, "OK", "SENTINEL", "FAILOVER", mymaster)
		wantCode(t, leader, "INPROG", "SENTINEL", "FAILOVER", mymaster)
		var seen []string
		for _, c := range logs {
			for {
				message := receive(t, c)
				seen = append(seen, strings.Fields(message)[2])
				if strings.Contains(message, "+switch-master") || strings.HasPrefix(message, "error") {
					break
				}
			}
		}
		if expected := []string{"+selected-slave", "+promoted-slave", "+failover-end", "+switch-master", "+switch-master", "+switch-master"}; !slices.Equal(seen, expected) {
			t.Errorf("events %q, want %q", seen, expected)
		}
		if passed := time.Since(begin); passed < 400*time.Millisecond {
			t.Errorf("it has taken only %v", passed)
		}
		time.Sleep(200 * time.Millisecond) // of the 3 s in which it still takes writes, although all sentinels know better
		want(t, dialTest(t, network, old), "OK", "SET", "lost", "lost")
		check(t, p.AwaitSettled(ctx))
		wantKeys(t, p, "", "lost")
		if now := primaryOf(t, p); now == old {
			t.Errorf("the primary is still %s", now)
		}
		for i, addr := range p.SentinelAddrs() {
			reply, err := dialTest(t, network, addr).Do(ctx, "SENTINEL", "MASTER", mymaster)
			check(t, err)
			if text := fmt.Sprint(reply); !strings.Contains(text, "flags master ") || !strings.Contains(text, "config-epoch 1 ") {
				t.Errorf("sentinel %d: %s", i, text)
			}
		}
	})
}

func TestInProcessNeedsAMajorityAndAReplica(t *testing.T) {
	t.Parallel()
	p := redis.StartInProcess(t, fastModel())
	ctx := t.Context()
	old := primaryOf(t, p)
	check(t, p.KillSentinel(0))
	check(t, p.HangSentinel(1))
	check(t, p.KillPrimary(ctx, mymaster))
	time.Sleep(500 * time.Millisecond) // five times as long as a majority would need
	if addr, err := p.PrimaryAddr(ctx, mymaster); !errors.Is(err, redis.ErrNoPrimary) {
		t.Errorf("a minority of sentinels has made %s the primary: %v", addr, err)
	}
	check(t, p.ReleaseHung())
	awaitOther(t, p, old)

	alone := redis.StartInProcess(t, redis.InProcessOptions{Replicas: -1})
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	var refusal redis.ReplyError
	if err := alone.Failover(short, mymaster); !errors.As(err, &refusal) || refusal.Code() != "NOGOODSLAVE" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a failover without replicas: %v", err)
	}
	check(t, alone.KillPrimary(ctx, mymaster))
	if err := alone.AwaitSettled(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("settled without a primary: %v", err)
	}
}
