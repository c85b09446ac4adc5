// Go's nhooyr.io/websocket (now coder/websocket) as a server that echoes, with the compression that its argument names.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"nhooyr.io/websocket"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr().(*net.TCPAddr).Port)
	options := &websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover, CompressionThreshold: 1}
	if os.Args[1] == "takeover" {
		options.CompressionMode = websocket.CompressionContextTakeover
	}
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, options)
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 24)
		defer c.Close(websocket.StatusInternalError, "")
		for {
			t, m, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), t, m) != nil {
				return
			}
		}
	})))
}
