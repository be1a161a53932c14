// SPDX-License-Identifier: Apache-2.0

internal import Linux
internal import Synchronization

/// The threads that receive the messages of devices in other processes. They exist from the start, because the seccomp
/// filters forbid new threads. Each serves one connection at a time.
final class ServerReaders: Sendable {
  /// The place of one thread.
  final class Place: Sendable {
    private struct State {
      var device: ServerDevice?
      var isOver = false
    }

    /// Taken by the thread, and by the threads that open devices and end the VM. No lock is taken inside it.
    private let state = Mutex(State())
    /// Signalled after a change.
    private let change: EventFD

    init() throws(KernelError) { change = try EventFD() }

    fileprivate var isFree: Bool { state.withLock { $0.device == nil && !$0.isOver } }

    /// Gives the thread a device. Returns false if it has one.
    fileprivate func give(_ device: ServerDevice) -> Bool {
      let isTaken = state.withLock { state in
        guard state.device == nil, !state.isOver else { return false }
        state.device = device
        return true
      }
      if isTaken { change.signal() }
      return isTaken
    }

    fileprivate func prepare() { state.withLock { $0.device }?.prepareToServe() }

    /// Serves devices until the end of the VM. This is the body of the thread.
    func run() {
      while let device = next() {
        device.serve()
        state.withLock { $0.device = nil }
      }
    }

    private func next() -> ServerDevice? {
      while true {
        do throws(KernelError) {
          try change.wait()
          try change.take()
        } catch {
          // The thread takes no more devices.
          state.withLock { $0.device }?.abandon(error)
          finish()
        }
        let (device, isOver) = state.withLock { ($0.device, $0.isOver) }
        if isOver { return nil }
        if let device { return device }
      }
    }

    /// Ends the thread. A connection that it serves ends.
    fileprivate func finish() {
      let device = state.withLock { state in
        state.isOver = true
        return state.device
      }
      device?.close()
      change.signal()
    }
  }

  /// The places of the threads.
  let places: [Place]

  /// Creates places without devices.
  init(count: Int) throws(KernelError) {
    places = try (0..<count).map { _ throws(KernelError) in try Place() }
  }

  /// True if a thread has no device.
  var hasFreePlace: Bool { places.contains { $0.isFree } }

  /// Gives a device to a thread without one. Returns false if there is none.
  func give(_ device: ServerDevice) -> Bool { places.contains { $0.give(device) } }

  /// Leaves the receipt of messages to the threads, before a thread whose filter does not permit it sends a request.
  func prepare() { for place in places { place.prepare() } }

  /// Ends the threads, after the devices have been closed.
  func finish() { for place in places { place.finish() } }
}
