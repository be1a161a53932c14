// SPDX-License-Identifier: Apache-2.0

public import Linux
internal import Synchronization

/// A client's connection to a server of vfio-user (QEMU docs/interop/vfio-user.rst).
///
/// Any thread may send a request and waits for its reply, except for a posted write. One thread calls ``serve()`` and
/// receives all messages: it gives a reply to the thread that waits for it, and serves the server's DMA_READ and
/// DMA_WRITE, also while replies are owed. Until ``prepareToServe()`` or ``serve()`` is called, a thread that waits for a
/// reply does this work. A process without other threads can thus read the properties of a device.
///
/// A malformed, unexpected or late reply ends the connection. Every request, now and later, then has the same error.
///
/// System calls of a request: sendmsg, poll, read and write (an eventfd), futex; shutdown before ``serve()``.
/// System calls of ``serve()``: poll, recvmsg, sendmsg, write (an eventfd), futex, shutdown; close for descriptors
/// that a reply should not have.
public final class Connection: Sendable {
  /// Limits of a connection.
  public struct Configuration: Sendable {
    /// The time for a reply, in milliseconds.
    public var deadline: Int32 = 1000
    /// The time for the reply to a request before which a server can complete the transfers of its device, in milliseconds: a
    /// reset, DMA_MAP, DMA_UNMAP and a write to configuration space. libvfio-user's server waits without a limit.
    public var quietDeadline: Int32 = 10_000
    /// The number of requests that wait for a reply at a time, or nil for 1 without a twin socket and
    /// ``mostRequests`` with it. libvfio-user's server fails a DMA transfer if a command arrives on the socket
    /// on which it waits for the reply.
    public var requests: Int?
    /// The capabilities that the client announces.
    public var capabilities: Capabilities

    /// The default number of requests at a time with a twin socket.
    public static let mostRequests = 8

    /// Creates the defaults: 8 descriptors per message and a twin socket if the server has one.
    public init() {
      capabilities = Capabilities()
      capabilities.messageDescriptors = 8
      capabilities.twinSocket = true
    }
  }

  /// The name in every error, such as the path of the socket.
  public let name: String
  /// The limits.
  public let configuration: Configuration
  /// The server's capabilities.
  public let server: Capabilities
  /// True if the server sends its commands on a second socket.
  public var hasTwinSocket: Bool { twin != nil }

  let channel: Channel
  let twin: Channel?
  let memory: DMAMemory
  let mapped = MappedRanges()
  let requests: ReplySlots
  let posting: PostedWrites
  /// The number of the server's transfers that were refused.
  let refusals = Atomic<UInt64>(0)

  /// The incoming directions of both sockets. Taken by a thread that receives; inside it a thread takes the locks of
  /// a channel, of ``mapped`` and of ``requests``.
  private let incoming: Mutex<Incoming>
  /// The slot at which the next request begins its search.
  private let nextSlot = Atomic<Int>(0)
  /// True if a thread calls ``serve()``, or will call it. A request then does not receive messages.
  private let isServed = Atomic<Bool>(false)

  private struct Incoming: ~Copyable {
    var main: MessageStream
    var twin: MessageStream
  }

  /// Negotiates the version with a server.
  ///
  /// - Parameters:
  ///   - socket: The connected Unix stream socket.
  ///   - name: The name in every error, such as the path of the socket.
  ///   - configuration: The limits.
  ///   - memory: The memory for the server's DMA_READ and DMA_WRITE.
  /// - Throws: An error after which the socket is closed.
  public init(
    _ socket: consuming OwnedDescriptor, name: String, configuration: Configuration = Configuration(),
    memory: DMAMemory
  ) throws(ConnectionError) {
    channel = Channel(socket)
    (self.name, self.configuration, self.memory) = (name, configuration, memory)
    let handshake: Handshake
    do throws(ConnectionFault) {
      handshake = try Handshake(channel, configuration.capabilities, within: configuration.deadline)
    } catch { throw ConnectionError(name, error) }
    (server, twin) = (handshake.server, handshake.twin)
    posting = PostedWrites(hasTwinSocket: handshake.twin != nil)
    let count = configuration.requests ?? (twin == nil ? 1 : Configuration.mostRequests)
    do throws(KernelError) { requests = try ReplySlots(count: max(1, count)) } catch {
      throw ConnectionError(name, .kernel(error))
    }
    let limit = Self.messageLimit(configuration)
    incoming = Mutex(Incoming(main: MessageStream(limit: limit), twin: MessageStream(limit: limit)))
  }

  /// The maximum size of a message to the client, in bytes: the largest transfer, or a region with its capabilities.
  private static func messageLimit(_ configuration: Configuration) -> Int {
    let transfer = Int(clamping: min(configuration.capabilities.transferSize, 1 << 30))
    return Header.size + max(DMATransfer.size + transfer, RegionInfo.mostBytes)
  }

  /// The number of an eventfd that is signalled when the connection has ended, and stays signalled. Another thread can
  /// wait for it with poll or epoll.
  public var endEvent: Int32 { requests.ended.number }

  /// The error that has ended the connection, or nil.
  public var failure: ConnectionError? { requests.fault.map { ConnectionError(name, $0) } }

  /// The number of the server's DMA transfers that were refused because their IOVAs are not mapped, or not with that
  /// access.
  public var refusedTransfers: UInt64 { refusals.load(ordering: .relaxed) }

  /// Leaves the receipt of messages to ``serve()``, also before a thread has called it. A thread whose filter does not
  /// permit recvmsg may then send requests.
  public func prepareToServe() { isServed.store(true, ordering: .releasing) }

  /// Receives all messages until the connection ends: the server ends it, or the owner calls ``close()``. One thread of
  /// the process calls this.
  public func serve() {
    prepareToServe()
    while requests.fault == nil { receive(milliseconds: -1, orUntil: endEvent) }
    endChannels()
  }

  /// Ends the connection. Every request, now and later, has the error ``ConnectionFault/closed``.
  public func close() { _ = end(.closed) }

  /// Ends the connection, because the server has refused a request that must succeed.
  ///
  /// - Parameters:
  ///   - command: The command of the request.
  ///   - errno: The positive error number that the server has returned, or nil.
  public func abandon(_ command: Command, errno: Int32?) {
    end(.refused(command, errno: UInt32(clamping: errno ?? 0)))
  }

  /// Ends the connection, because the thread that receives its messages cannot continue.
  public func abandon(_ error: KernelError) { end(.kernel(error)) }

  /// Ends the connection, unless it has ended. Returns the error that every request has.
  @discardableResult
  func end(_ fault: ConnectionFault) -> ConnectionError {
    let (first, isFirst) = requests.end(fault)
    if isFirst, !isServed.load(ordering: .acquiring) { endChannels() }
    return ConnectionError(name, first)
  }

  private func endChannels() {
    channel.end()
    twin?.end()
  }

  /// Waits for messages and dispatches them.
  ///
  /// - Parameters:
  ///   - milliseconds: The timeout, or -1 for none.
  ///   - other: A descriptor whose input ends the wait.
  private func receive(milliseconds: Int32, orUntil other: Int32) {
    let ready: Int32
    do throws(KernelError) {
      let numbers = [channel.number, twin?.number ?? -1, other]
      ready = try MessageSocket.waitForInput(numbers, milliseconds: milliseconds)
    } catch {
      end(.kernel(error))
      return
    }
    guard ready & 3 != 0 else { return }
    incoming.withLock { incoming in
      do throws(ConnectionFault) {
        if ready & 1 != 0, let message = try incoming.main.next(from: channel.number) {
          try dispatch(message, from: channel)
        }
        if ready & 2 != 0, let twin, let message = try incoming.twin.next(from: twin.number) {
          try dispatch(message, from: twin)
        }
      } catch { end(error) }
    }
  }

  /// Sends a request in a free slot and returns its reply. If no slot is free, waits for one.
  func withSlot(
    _ body: (_ index: Int, _ slot: ReplySlots.Slot) throws(ConnectionError) -> Message
  ) throws(ConnectionError) -> Message {
    let slots = requests.slots
    let start = nextSlot.wrappingAdd(1, ordering: .relaxed).oldValue
    for offset in slots.indices {
      let index = (start &+ offset) & Int.max
      let slot = slots[index % slots.count]
      let reply = try slot.turn.withLockIfAvailable { _ throws(ConnectionError) in
        try body(index % slots.count, slot)
      }
      if let reply { return reply }
    }
    let index = (start & Int.max) % slots.count
    return try slots[index].turn.withLock { _ throws(ConnectionError) in try body(index, slots[index]) }
  }

  /// Waits for the reply of a request.
  ///
  /// - Parameters:
  ///   - index: The slot of the request.
  ///   - command: The command, for the error.
  ///   - milliseconds: The deadline, for the error.
  ///   - time: The deadline in microseconds of the monotonic clock.
  func reply(
    _ index: Int, _ command: Command, within milliseconds: Int32, until time: Int64
  ) throws(ConnectionFault) -> Message {
    let arrived = requests.slots[index].arrived.number
    while true {
      if let message = try requests.take(index) { return message }
      let left = Deadline.milliseconds(until: time)
      guard left > 0 else { throw .late(command, milliseconds: milliseconds) }
      do throws(KernelError) {
        if isServed.load(ordering: .acquiring) {
          _ = try MessageSocket.waitForInput([arrived], milliseconds: left)
        } else {
          receive(milliseconds: left, orUntil: arrived)
        }
        try requests.slots[index].arrived.take()
      } catch { throw .kernel(error) }
    }
  }
}
