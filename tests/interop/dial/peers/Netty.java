import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.SocketChannel;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.websocketx.TextWebSocketFrame;
import io.netty.handler.codec.http.websocketx.WebSocketFrameAggregator;
import io.netty.handler.codec.http.websocketx.WebSocketServerProtocolHandler;
import io.netty.handler.codec.http.websocketx.extensions.compression.WebSocketServerCompressionHandler;
import java.net.InetSocketAddress;

/** Netty as a server that echoes, with its compression. java.util.zip cannot set the window, so it takes no offer that asks for one. */
public class Netty {
    public static void main(String[] arguments) throws Exception {
        var bootstrap = new ServerBootstrap().group(new NioEventLoopGroup(1)).channel(NioServerSocketChannel.class);
        bootstrap.childHandler(new ChannelInitializer<SocketChannel>() {
            @Override
            protected void initChannel(SocketChannel channel) {
                channel.pipeline().addLast(
                    new HttpServerCodec(), new HttpObjectAggregator(65536), new WebSocketServerCompressionHandler(),
                    new WebSocketServerProtocolHandler("/", null, true, 1 << 24), new WebSocketFrameAggregator(1 << 24),
                    new SimpleChannelInboundHandler<TextWebSocketFrame>() {
                        @Override
                        protected void channelRead0(ChannelHandlerContext context, TextWebSocketFrame frame) {
                            context.writeAndFlush(new TextWebSocketFrame(frame.text()));
                        }
                    });
            }
        });
        var address = (InetSocketAddress) bootstrap.bind("127.0.0.1", 0).sync().channel().localAddress();
        System.out.println(address.getPort());
    }
}
