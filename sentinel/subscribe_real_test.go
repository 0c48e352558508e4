package sentinel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

func TestASubscriptionSurvivesAFailover(t *testing.T) {
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true})
	for _, protocol := range []int{2, 3} {
		c := follow(t, cluster, sentinel.Options{Protocol: protocol})
		s, err := c.Subscribe(t.Context(), name, "news", "weather")
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.PSubscribe(t.Context(), name, "n*")
		if err != nil {
			t.Fatal(err)
		}
		publish := func(payload string) {
			t.Helper()
			if err := c.Do(t.Context(), name, radix.Cmd(nil, "PUBLISH", "news", payload)); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(s *sentinel.Subscription, want sentinel.Message) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			m, err := s.Next(ctx)
			if err != nil || m.Channel != want.Channel || m.Pattern != want.Pattern || string(m.Payload) != string(want.Payload) || m.Resubscribed != want.Resubscribed {
				t.Fatalf("RESP%d: got %+v, %v; want %+v", protocol, m, err, want)
			}
		}
		publish("1")
		expect(s, sentinel.Message{Channel: "news", Payload: []byte("1")})
		expect(p, sentinel.Message{Channel: "news", Pattern: "n*", Payload: []byte("1")})
		old := present(t, cluster)
		if err := cluster.Failover(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		settle(t, cluster, c, old)
		expect(s, sentinel.Message{Resubscribed: true})
		expect(p, sentinel.Message{Resubscribed: true})
		publish("2")
		expect(s, sentinel.Message{Channel: "news", Payload: []byte("2")})
		expect(p, sentinel.Message{Channel: "news", Pattern: "n*", Payload: []byte("2")})
		_ = s.Close()
		if _, err := s.Next(t.Context()); !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		c.Close()
		if _, err := p.Next(t.Context()); !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("after the client's Close: %v", err)
		}
	}
}

func TestASubscriptionNeedsSomething(t *testing.T) {
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true})
	c := follow(t, cluster, sentinel.Options{})
	if _, err := c.Subscribe(t.Context(), name); err == nil {
		t.Error("a subscription to nothing")
	}
	if _, err := c.Subscribe(t.Context(), "nobody", "news"); !errors.Is(err, sentinel.ErrUnknownPrimary) {
		t.Errorf("of an unknown primary: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Subscribe(ctx, name, "news"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
