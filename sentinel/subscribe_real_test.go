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

// listener is a client of one protocol with two subscriptions.
type listener struct {
	*testing.T
	client            *sentinel.Client
	channels, pattern *sentinel.Subscription
}

func listen(t *testing.T, cluster *redis.Cluster, protocol int) *listener {
	t.Helper()
	c := follow(t, cluster, sentinel.Options{Protocol: protocol})
	channels, err := c.Subscribe(t.Context(), name, "news", "weather")
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := c.PSubscribe(t.Context(), name, "n*")
	if err != nil {
		t.Fatal(err)
	}
	return &listener{t, c, channels, pattern}
}

func (l *listener) expect(s *sentinel.Subscription, want sentinel.Message) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil || m.Channel != want.Channel || m.Pattern != want.Pattern || string(m.Payload) != string(want.Payload) || m.Resubscribed != want.Resubscribed {
		l.Fatalf("got %+v, %v; want %+v", m, err, want)
	}
}

// hear expects the published message.
func (l *listener) hear(payload string) {
	l.Helper()
	l.expect(l.channels, sentinel.Message{Channel: "news", Payload: []byte(payload)})
	l.expect(l.pattern, sentinel.Message{Channel: "news", Pattern: "n*", Payload: []byte(payload)})
}

func TestASubscriptionSurvivesAFailover(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	listeners := []*listener{listen(t, cluster, 2), listen(t, cluster, 3)}
	publish := func(payload string) {
		t.Helper()
		for _, l := range listeners {
			if err := l.client.Do(t.Context(), name, radix.Cmd(nil, "PUBLISH", "news", payload)); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range listeners {
			l.hear(payload)
			l.hear(payload) // the other's
		}
	}
	publish("1")
	old := present(t, cluster)
	failOver(t, cluster, old)
	for _, l := range listeners {
		settle(t, cluster, l.client, old)
		l.expect(l.channels, sentinel.Message{Resubscribed: true})
		l.expect(l.pattern, sentinel.Message{Resubscribed: true})
	}
	publish("2")
	for _, l := range listeners {
		_ = l.channels.Close()
		if _, err := l.channels.Next(t.Context()); !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		l.client.Close()
		if _, err := l.pattern.Next(t.Context()); !errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("after the client's Close: %v", err)
		}
	}
}

func TestASubscriptionNeedsSomething(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
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
