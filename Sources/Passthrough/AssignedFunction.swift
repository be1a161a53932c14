// SPDX-License-Identifier: Apache-2.0

internal import KVM
internal import Linux
public import PCI
internal import Synchronization
public import VFIO

/// A function of the host that a guest has: the one place that changes its mappings, its
/// interrupts and its state.
public final class AssignedFunction: Sendable {
  /// The address on the host, which names the device in every message.
  public let address: String
  /// Its BARs.
  public let bars: [BaseAddress]
  private let device: Device
  private let observe: FunctionObserver
  /// Taken by vCPU threads for a trapped access and by the control thread for the hand-over;
  /// inside it those of ``DecodedRanges``, of the machine's slots and routes, and of the trace. Never
  /// two functions' at once, and not while a reset is going on, which may take a second.
  private let state: Mutex<FunctionState>
  /// Where the BARs are now, for the bus.
  private let decoded = DecodedRanges()

  /// Takes a device over: resets it, leaves it with memory and bus mastering off, and makes the
  /// guest's view of it. Nothing of it is mapped.
  ///
  /// - Parameter observe: Told of everything that happens, with the function's lock held.
  public init(
    _ device: Device, host: Host, observe: @escaping FunctionObserver
  ) throws(FunctionError) {
    self.device = device
    self.observe = observe
    address = device.address
    do throws(KernelError) {
      if device.hasReset {
        let start = Clock.microseconds()
        try device.reset()
        observe(.reset(why: "start"), Clock.microseconds() - start)
      } else {
        observe(.warning("it has no reset: the guest gets it in the state it is in"), 0)
      }
      let initial = try FunctionState(device, host: host, observe: observe)
      bars = initial.config.bars
      state = Mutex(initial)
    } catch {
      throw FunctionError(device: device.address, cause: error.description)
    }
  }

  /// Gives the BARs addresses before the guest starts; in the order of ``bars``.
  public func place(_ addresses: [UInt64]) {
    state.withLock { state in
      for (bar, address) in zip(bars, addresses) { state.config.setBase(of: bar, to: address) }
      decoded.update(state.config)
    }
  }

  /// The BAR that answers to an address, and the offset in it; nil where none does.
  ///
  /// - Parameter space: Ports or memory.
  public func decode(_ address: UInt64, isPort: Bool) -> (bar: Int, offset: UInt64)? {
    decoded.find(address, isPort: isPort)
  }

  private func failure(_ error: KernelError) -> FunctionError {
    FunctionError(device: address, cause: error.description)
  }

  /// Reads configuration space: 1, 2 or 4 bytes.
  public func readConfig(_ offset: Int, width: Int) -> UInt32 {
    state.withLock { $0.readConfig(offset, width: width) }
  }

  /// Writes configuration space: 1, 2 or 4 bytes. Comes back when the write has had its effect, a
  /// reset included.
  public func writeConfig(_ offset: Int, width: Int, _ value: UInt32) throws(FunctionError) {
    do throws(KernelError) {
      let rest = try state.withLock { state throws(KernelError) in
        let rest = try state.writeConfig(offset, width: width, value)
        decoded.update(state.config)
        if rest == .reset { try state.beginReset() }
        return rest
      }
      if rest == .reset { try reset() }
    } catch { throw failure(error) }
  }

  /// Resets a function whose gate is closed for it, and lets the guest have it again.
  private func reset() throws(KernelError) {
    let start = Clock.microseconds()
    do throws(KernelError) {
      try device.reset()
      observe(.reset(why: "flr"), Clock.microseconds() - start)
    } catch { observe(.warning("\(error); it goes on as it is"), 0) }
    try state.withLock { state throws(KernelError) in try state.finishReset() }
  }

  /// Reads a memory BAR.
  public func readMemory(bar: Int, offset: UInt64, width: Int) throws(FunctionError) -> UInt64 {
    do throws(KernelError) {
      return try state.withLock { state throws(KernelError) in
        try state.readMemory(bar: bar, offset: offset, width: width)
      }
    } catch { throw failure(error) }
  }

  /// Writes a memory BAR.
  public func writeMemory(
    bar: Int, offset: UInt64, width: Int, _ value: UInt64
  ) throws(FunctionError) {
    do throws(KernelError) {
      try state.withLock { state throws(KernelError) in
        try state.writeMemory(bar: bar, offset: offset, width: width, value)
      }
    } catch { throw failure(error) }
  }

  /// Reads an I/O BAR; all-ones where the guest has turned I/O off.
  public func readPort(bar: Int, offset: UInt64, width: Int) -> UInt64 {
    state.withLock { state in
      guard state.config.command.contains(.ioSpace) else { return .max }
      // What the device does not answer reads as all-ones.
      return (try? state.device.read(bar, offset: offset, width: width)) ?? .max
    }
  }

  /// Writes an I/O BAR.
  public func writePort(bar: Int, offset: UInt64, width: Int, _ value: UInt64) {
    state.withLock { state in
      guard state.config.command.contains(.ioSpace) else { return }
      // What the device does not take is dropped, as on a bus.
      try? state.device.write(bar, offset: offset, width: width, value)
    }
  }

  /// Demotes open windows after a bare -EFAULT of KVM_RUN; false where there was none to demote.
  ///
  /// - Parameter all: Whether a device that says its memory is on is meant too.
  public func demote(all: Bool) throws(FunctionError) -> Bool {
    do throws(KernelError) {
      return try state.withLock { state throws(KernelError) in try state.demote(all: all) }
    } catch { throw failure(error) }
  }

  /// Closes the gate for good, resets the device and leaves it quiet for its next owner.
  public func handBack() throws(FunctionError) {
    do throws(KernelError) {
      try state.withLock { state throws(KernelError) in
        try state.pass(.set(.alive, false), .shutdown) { owner in
          owner.writeDevice(Register.command, width: 2, 0)
        }
        try state.vectors?.disable()
      }
      if device.hasReset {
        let start = Clock.microseconds()
        try device.reset()
        observe(.reset(why: "hand-back"), Clock.microseconds() - start)
      }
    } catch { throw failure(error) }
  }

  /// What it has done so far.
  public var statistics: FunctionStatistics {
    state.withLock { state in
      var statistics = state.statistics
      statistics.vectorsUsed = state.vectors?.used ?? 0
      return statistics
    }
  }
}
