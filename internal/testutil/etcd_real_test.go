package testutil_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// etcdCall asks an etcd over its JSON gateway, and gives it so long to answer.
func etcdCall(t *testing.T, e *testutil.Etcd, limit time.Duration, path, body string) (answer struct {
	Header struct{ Revision string }
	Kvs    []struct{ Value string }
}, err error,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL()+path, strings.NewReader(body))
	check(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return answer, err
	}
	defer func() { _ = response.Body.Close() }()
	check(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer, nil
}

func etcdPut(t *testing.T, e *testutil.Etcd, key, value string) {
	t.Helper()
	encode := base64.StdEncoding.EncodeToString
	_, err := etcdCall(t, e, patience, "/v3/kv/put", `{"key":"`+encode([]byte(key))+`","value":"`+encode([]byte(value))+`"}`)
	check(t, err)
}

func etcdGet(t *testing.T, e *testutil.Etcd, key string) string {
	t.Helper()
	answer, err := etcdCall(t, e, patience, "/v3/kv/range", `{"key":"`+base64.StdEncoding.EncodeToString([]byte(key))+`"}`)
	check(t, err)
	if len(answer.Kvs) == 0 {
		return ""
	}
	value, err := base64.StdEncoding.DecodeString(answer.Kvs[0].Value)
	check(t, err)
	return string(value)
}

func TestEtcdKeepsOrLosesItsData(t *testing.T) {
	e := testutil.StartEtcd(t)
	addr := e.Addr()
	if !strings.HasPrefix(e.Kind(), "etcd 3.") {
		t.Errorf("Kind() = %q", e.Kind())
	}
	etcdPut(t, e, "k", "v")
	check(t, e.Restart())
	if got := etcdGet(t, e, "k"); got != "v" {
		t.Errorf("after Restart: %q, want the value", got)
	}
	check(t, e.Kill())
	check(t, e.Kill())
	if _, err := etcdCall(t, e, patience, "/v3/kv/range", "{}"); err == nil {
		t.Error("a killed etcd answers")
	}
	if err := e.Hang(); !errors.Is(err, testutil.ErrNotRunning) {
		t.Errorf("Hang of a killed one: %v", err)
	}
	check(t, e.RestartEmpty())
	if got := etcdGet(t, e, "k"); got != "" || e.Addr() != addr {
		t.Errorf("after RestartEmpty: %q at %s", got, e.Addr())
	}
}

func TestEtcdHangs(t *testing.T) {
	e := testutil.StartEtcd(t)
	etcdPut(t, e, "k", "v")
	check(t, e.Hang())
	if _, err := etcdCall(t, e, time.Second, "/v3/kv/range", "{}"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hung etcd: %v", err)
	}
	check(t, e.Release())
	if got := etcdGet(t, e, "k"); got != "v" {
		t.Errorf("after Release: %q", got)
	}
	check(t, e.Hang())
	check(t, errors.Join(e.Close(), e.Close()))
	if err := e.Restart(); !errors.Is(err, testutil.ErrClosed) {
		t.Errorf("Restart after Close: %v", err)
	}
}

func TestEtcdThatEndsAtOnceIsReported(t *testing.T) {
	if _, err := testutil.FindEtcd(); err != nil {
		testutil.Missing(t, "etcd", err)
	}
	_, err := testutil.LaunchEtcd(t.Context(), testutil.EtcdOptions{Args: []string{"--no-such-flag"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("%v", err)
	}
}
