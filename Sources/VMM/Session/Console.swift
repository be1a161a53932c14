// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// A terminal or a pair of streams, connected to the guest's serial port.
struct Console: ~Copyable {
  /// The state of an escape sequence, which begins with Ctrl-A.
  private enum Escape { case none, prefix }

  private let serial: Serial
  /// The descriptor to read from.
  private let input: Int32
  /// The descriptor to watch for room.
  private let output: Int32
  private let isTerminal: Bool
  private let terminal: Terminal?
  /// True if the event loop watches the output.
  private var isOutputWatched = false
  private var escape = Escape.none
  private var isOpen = true
  /// True if the event loop watches the input. It does not accept files, which never block.
  private var isWatched = false
  private var isWatchable = true
  /// True if the terminal belongs to another process group, which then receives typed bytes.
  private(set) var isInBackground = false
  /// Typed bytes that the guest has not received yet. Ctrl-A and the byte after it are added together.
  private var pending: [UInt8] = []

  /// Ctrl-A.
  private static let prefix: UInt8 = 1

  /// - Parameters:
  ///   - serial: The guest's serial port.
  ///   - isTerminal: True if the input is the process's terminal. The terminal becomes raw. Ctrl-A begins an
  ///     escape sequence.
  ///   - input: The descriptor to read from.
  ///   - output: The descriptor to watch for room.
  init(serial: Serial, isTerminal: Bool, input: Int32, output: Int32) {
    self.serial = serial
    self.input = input
    self.output = output
    self.isTerminal = isTerminal
    terminal = isTerminal ? Terminal() : nil
    takeTerminal()
  }

  /// Makes the terminal raw. Called at the start and after another process has used the terminal.
  mutating func takeTerminal() {
    if let terminal { isInBackground = !terminal.enter() }
  }

  /// Makes the event loop watch the input while there may be input that the guest can receive.
  mutating func watch(_ loop: borrowing Epoll) throws(KernelError) {
    let wanted = isOpen && isWatchable && !isInBackground && pending.isEmpty && serial.space > 0
    if wanted == isWatched { return }
    if wanted {
      do throws(KernelError) { try loop.watch(input, as: EventSource.input.rawValue) } catch {
        // EPERM means a file, which is read as the guest makes room. Other errors mean that there is no
        // input.
        guard error.errno == KernelError.notPermitted else {
          isOpen = false
          return
        }
        isWatchable = false
        return
      }
    } else {
      try loop.unwatch(input)
    }
    isWatched = wanted
  }

  /// Sends the bytes in the transmitter. Makes the event loop watch the output while it accepts no more
  /// bytes.
  mutating func send(_ loop: borrowing Epoll) throws(KernelError) {
    let isEmpty = serial.transmit()
    if isEmpty == !isOutputWatched { return }
    if isEmpty {
      try loop.unwatch(output)
    } else {
      try loop.watch(output, as: EventSource.output.rawValue, for: .output)
    }
    isOutputWatched = !isEmpty
  }

  /// Reads the available input that the guest can receive. Returns true if the user requests to quit.
  mutating func transfer() throws(KernelError) -> Bool {
    deliver()
    while isOpen, pending.isEmpty, serial.space > 0 {
      let bytes: [UInt8]
      do throws(KernelError) { bytes = try readBytes(input, upTo: serial.space) } catch {
        switch error.errno {
        // Another reader has emptied non-blocking input, or a signal has arrived. More input may follow.
        case KernelError.again, KernelError.interrupted: break
        // A read in the background with SIGTTIN blocked fails with EIO. So does a read from a terminal that
        // no longer exists.
        case KernelError.io where isTerminal && !isInBackground: isInBackground = true
        default: isOpen = false
        }
        return false
      }
      if bytes.isEmpty {
        isOpen = false
        return false
      }
      for byte in bytes {
        switch (escape, byte) {
        case (.none, Self.prefix) where isTerminal: escape = .prefix
        case (.prefix, UInt8(ascii: "x")): return true
        case (.prefix, Self.prefix):
          pending.append(byte)
          escape = .none
        case (.prefix, _):
          pending += [Self.prefix, byte]
          escape = .none
        case (.none, _): pending.append(byte)
        }
      }
      deliver()
      if isWatchable { return false }
    }
    return false
  }

  private mutating func deliver() {
    let count = min(pending.count, serial.space)
    guard count > 0 else { return }
    serial.receive(pending.prefix(count))
    pending.removeFirst(count)
  }

  /// Continues after the guest has made room: delivers pending bytes, and reads a file, which the event loop
  /// does not watch. Returns true if the user requests to quit.
  mutating func refill() throws(KernelError) -> Bool {
    deliver()
    return isWatchable ? false : try transfer()
  }
}
