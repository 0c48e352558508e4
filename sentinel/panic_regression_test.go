package sentinel_test

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// Functions of Endpoint.TLS run where connections are made: one that panicked took the process down
// with it.
func TestTheUsersTLSMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := redis.StartFakeCluster(t)
		o := sentinel.Options{Names: []string{name}}
		o.Sentinel.Dial, o.Server.Dial = cluster.Net.Dial, cluster.Net.Dial
		o.Sentinel.TLS = &tls.Config{ServerName: "any", Rand: panics{}}
		c, err := sentinel.New(t.Context(), cluster.SentinelAddrs(), o)
		if err == nil {
			c.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "Endpoint.TLS panicked") {
			t.Errorf("%v", err)
		}
	})
}

type panics struct{}

func (panics) Read([]byte) (int, error) { panic("no random numbers") }
