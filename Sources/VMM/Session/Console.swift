// SPDX-License-Identifier: Apache-2.0

internal import Linux

/// A terminal or a pair of streams, connected to the guest's serial port.
struct Console: ~Copyable {
  /// What a typed byte asks for.
  private enum Escape { case none, prefix }

  private let serial: Serial
  /// The descriptor to read from.
  private let input: Int32
  /// The descriptor to watch for room.
  private let output: Int32
  private let isTerminal: Bool
  private let terminal: Terminal?
  /// True if the event loop watches standard output.
  private var isOutputWatched = false
  private var escape = Escape.none
  private var isOpen = true
  /// Whether the event loop watches the input; it does not take files, which never block.
  private var isWatched = false
  private var isWatchable = true
  /// True if the terminal belongs to another process group now, which gets what is typed.
  private(set) var isInBackground = false
  /// Typed, and not yet taken by the guest: Ctrl-A and the byte after it come at once.
  private var pending: [UInt8] = []

  /// Ctrl-A.
  private static let prefix: UInt8 = 1

  /// - Parameters:
  ///   - isTerminal: True if the input is the process's terminal. It becomes raw, and Ctrl-A is not the guest's.
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

  /// Makes the terminal raw, at the start and after other processes had it.
  mutating func takeTerminal() {
    if let terminal { isInBackground = !terminal.enter() }
  }

  /// Watches the input while the guest can take more and there may be more.
  mutating func watch(_ loop: borrowing Epoll) throws(KernelError) {
    let wanted = isOpen && isWatchable && !isInBackground && pending.isEmpty && serial.space > 0
    if wanted == isWatched { return }
    if wanted {
      do throws(KernelError) { try loop.watch(input, as: EventSource.input.rawValue) } catch {
        // A file or no descriptor at all: files are read as the guest makes room.
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

  /// Sends what is in the transmitter, and has the event loop watch standard output as long as it takes no more.
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

  /// Reads what is there, as much as the guest can take. True when the user asks to quit.
  mutating func transfer() throws(KernelError) -> Bool {
    deliver()
    while isOpen, pending.isEmpty, serial.space > 0 {
      let bytes: [UInt8]
      do throws(KernelError) { bytes = try readBytes(input, upTo: serial.space) } catch {
        switch error.errno {
        // Non-blocking input that another reader has emptied, or a signal: there is more to come.
        case KernelError.again, KernelError.interrupted: break
        // A read from the background of a terminal, with SIGTTIN blocked. A terminal that is gone says the same.
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

  /// Goes on after the guest has made room: with what waits, and with a file, which the event loop
  /// does not watch.
  mutating func refill() throws(KernelError) -> Bool {
    deliver()
    return isWatchable ? false : try transfer()
  }
}
