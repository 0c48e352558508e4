package main

import (
	"crypto/tls"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// A real cluster whose servers and sentinels have passwords of their own is drilled, with both
// clients.
func TestADrillLogsIn(t *testing.T) {
	if _, err := redis.FindServer(); err != nil {
		testutil.Missing(t, "redis-server", err)
		return
	}
	cluster := redis.StartCluster(t, redis.ClusterOptions{
		Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute, Password: "of the servers", SentinelPassword: "of the sentinels",
		User: "drill", UserPassword: "of the drill",
	})
	folder := t.TempDir()
	args := []string{"-sentinels", strings.Join(cluster.SentinelAddrs(), ","), "-user", "drill", "-duration", "3s", "-rate", "100", "-keys", "300", "-timeout", "5s", "-no-web", "-out", folder, "-promise", "lost=0,errors<100%"}
	var out output
	t.Setenv(passwordVariable, "of the drill")
	if got := run(t.Context(), args, nil, &out, &out); got != exitFailed {
		t.Errorf("exit status %d without the password of the sentinels, want %d:\n%s", got, exitFailed, out.String())
	}
	t.Setenv(sentinelPasswordVariable, "of the sentinels")
	if got := run(t.Context(), args, nil, &out, &out); got != exitKept {
		t.Fatalf("exit status %d, want 0:\n%s", got, out.String())
	}
	r := readReport(t, folder)
	if p := r.Phases[0]; r.Scenario != record.Sentinel || p.Plain.Acknowledged == 0 || p.Holdfast.Acknowledged == 0 {
		t.Errorf("plain had %d writes acknowledged and holdfast %d, want some", p.Plain.Acknowledged, p.Holdfast.Acknowledged)
	}
}

func TestAccessIsReadFromTheFlags(t *testing.T) {
	ca := testutil.NewAuthority(t)
	certificate := ca.Here(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go answerPings(listener)
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	root := file("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.DER()})))
	for args, want := range map[string]string{
		"-tls -tls-ca " + root: "",
		"-tls":                 "certificate",
		"-tls -tls-ca " + file("empty.pem", "none"):   "has no certificate in PEM form",
		"-tls -tls-ca " + filepath.Join(folder, "no"): "-tls-ca",
		"-tls-ca " + root: "only with -tls",
	} {
		s, err := parse(append(strings.Fields(args), "-sentinels", listener.Addr().String()), false)
		if err == nil {
			err = ping(t, s, listener.Addr().String())
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want an error with %q", args, err, want)
		}
	}
	if _, err := parse(strings.Fields("-servers a:1 -user x"), false); err == nil || !strings.Contains(err.Error(), "only with -sentinels") {
		t.Errorf("-user with -servers: %v", err)
	}
}

// ping reaches a sentinel as the plain client would.
func ping(t *testing.T, s settings, addr string) error {
	t.Helper()
	a, err := s.access.read()
	if err != nil {
		return err
	}
	conn, err := a.Radix().SentinelDialer.Dial(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Do(t.Context(), radix.Cmd(nil, "PING"))
}

// answerPings answers every line that asks for it, until the listener is closed.
func answerPings(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			buffer := make([]byte, 256)
			for {
				if _, err := conn.Read(buffer); err != nil {
					return
				}
				if _, err := conn.Write([]byte("+PONG\r\n")); err != nil {
					return
				}
			}
		}()
	}
}
