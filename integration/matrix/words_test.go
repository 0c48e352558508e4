package matrix_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// words are what a server says instead of serving, each to all requests of a connection.
type words struct {
	busy   func(net.Conn) // it cannot serve now
	login  func(net.Conn) // it wants to know who asks
	crowds func(net.Conn) // it has too many connections, says so and closes
}

// memcachedWords are those of memcached.
func memcachedWords() words {
	return words{memcachedSays("SERVER_ERROR out of memory"), memcachedSays("CLIENT_ERROR unauthenticated"), says("ERROR Too many open connections\r\n")}
}

// redisWords are those of Redis.
func redisWords() words {
	return words{
		redisSays("-LOADING Redis is loading the dataset in memory"), redisSays("-NOAUTH Authentication required."),
		says("-ERR max number of clients reached\r\n"),
	}
}

// httpWords are those of an HTTP server, or of a proxy before it.
func httpWords() words {
	return words{
		httpSays(http.StatusServiceUnavailable), httpSays(http.StatusUnauthorized),
		func(c net.Conn) { // not before it was asked: net/http would complain in the log
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				says("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")(c)
			}
		},
	}
}

// says says something and ends the connection.
func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// serve reads requests and answers each with a text.
func serve(read func(*bufio.Reader) error, text string) func(net.Conn) {
	return func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			if err := read(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// memcachedSays answers each command of the classic and the meta protocol.
func memcachedSays(text string) func(net.Conn) {
	return serve(func(r *bufio.Reader) error {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		fields := append(strings.Fields(line), "", "", "", "", "") // none is too short
		at, stores := map[string]int{"set": 4, "add": 4, "replace": 4, "append": 4, "prepend": 4, "cas": 4, "ms": 2}[fields[0]]
		if !stores {
			return nil
		}
		size, err := strconv.Atoi(fields[at])
		if err != nil {
			return err
		}
		_, err = r.Discard(size + len("\r\n"))
		return err
	}, text+"\r\n")
}

// redisSays answers each command, which is an array of strings.
func redisSays(text string) func(net.Conn) {
	return serve(func(r *bufio.Reader) error {
		var parts int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &parts); err != nil {
			return err
		}
		for range parts {
			var size int
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return err
			}
			if _, err := r.Discard(size + len("\r\n")); err != nil {
				return err
			}
		}
		return nil
	}, text+"\r\n")
}

// httpSays answers each request with a status.
func httpSays(status int) func(net.Conn) {
	return serve(func(r *bufio.Reader) error {
		request, err := http.ReadRequest(r)
		if err != nil {
			return err
		}
		defer request.Body.Close()
		_, err = io.Copy(io.Discard, request.Body)
		return err
	}, fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status)))
}
