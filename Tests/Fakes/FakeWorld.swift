// SPDX-License-Identifier: Apache-2.0

package import Seams
package import Synchronization

/// The shared state of the fakes of one VM: the calls through the seams, the mappings and connections that
/// they have made, and the calls that fail.
package final class FakeWorld: Sendable {
  /// A call through a seam.
  package enum Call: Equatable, Sendable, CustomStringConvertible {
    case read(region: Int, offset: UInt64)
    case write(region: Int, offset: UInt64, UInt64)
    case readAll(region: Int)
    case mapBAR(Int)
    case enable(InterruptKind, Int)
    case disable(InterruptKind)
    case trigger(InterruptKind, Int)
    case unmask
    case reset
    case resetBus
    case reopen
    case close
    case addSlot(UInt64, UInt64)
    case removeSlot(UInt32)
    case makeEventFD
    case route(UInt32)
    case connect(UInt32)
    case connectLevel(UInt32)
    case disconnect(UInt32)
    case limits
    case map(UInt64, UInt64)
    case share(UInt64, UInt64)
    case dmaBuffer(Int, UInt64, UInt64)
    case unmap(UInt64, UInt64)

    /// The name of the call, without its arguments.
    package var name: String {
      let text = "\(self)"
      return String(text.prefix { $0 != "(" })
    }

    package var description: String {
      switch self {
      case .read(let region, let offset): "read(\(region), \(offset))"
      case .write(let region, let offset, let value): "write(\(region), \(offset), \(value))"
      case .readAll(let region): "readAll(\(region))"
      case .mapBAR(let bar): "mapBAR(\(bar))"
      case .enable(let kind, let count): "enable(\(kind), \(count))"
      case .disable(let kind): "disable(\(kind))"
      case .trigger(let kind, let vector): "trigger(\(kind), \(vector))"
      case .unmask: "unmask"
      case .reset: "reset"
      case .resetBus: "resetBus"
      case .reopen: "reopen"
      case .close: "close"
      case .addSlot(let base, let size): "addSlot(\(base), \(size))"
      case .removeSlot(let slot): "removeSlot(\(slot))"
      case .makeEventFD: "makeEventFD"
      case .route(let data): "route(\(data))"
      case .connect(let gsi): "connect(\(gsi))"
      case .connectLevel(let gsi): "connectLevel(\(gsi))"
      case .disconnect(let gsi): "disconnect(\(gsi))"
      case .limits: "limits"
      case .map(let iova, let size): "map(\(iova), \(size))"
      case .share(let iova, let size): "share(\(iova), \(size))"
      case .dmaBuffer(let region, let offset, let size): "dmaBuffer(\(region), \(offset), \(size))"
      case .unmap(let iova, let size): "unmap(\(iova), \(size))"
      }
    }
  }

  /// A range of host memory that is mapped for the guest or for a device.
  package struct Mapped: Equatable, Sendable {
    /// The GPA or the IOVA.
    package let base: UInt64
    /// Bytes.
    package let size: UInt64
    /// The host virtual address.
    package let host: UInt64
    /// The dma-buf that is mapped, or nil for a mapping by host virtual address.
    package var buffer: Int32?
    /// True if the kernel has revoked the mapping of a dma-buf. It then translates nothing, but it still occupies its
    /// IOVAs.
    package var isRevoked = false
  }

  /// A dma-buf: a range of the memory of a device.
  package struct Buffer: Equatable, Sendable {
    /// The address of the device on the host.
    package let device: String
    /// The host virtual address of its first byte.
    package let host: UInt64
    /// Bytes.
    package let size: UInt64
  }

  /// The state of the world.
  package struct State: Sendable {
    /// All calls.
    package var calls: [Call] = []
    /// Memory slots by number.
    package var slots: [UInt32: Mapped] = [:]
    /// The mappings of each I/O address space, by IOVA.
    package var spaces: [[UInt64: Mapped]] = []
    /// The dma-bufs by their descriptor.
    package var buffers: [Int32: Buffer] = [:]
    /// The devices whose memory is enabled.
    var enabledDevices: Set<String> = []
    /// The GSI of each connected eventfd.
    package var connected: [Int32: UInt32] = [:]
    /// The resample eventfd of each eventfd that raises a level-triggered GSI.
    package var resamples: [Int32: Int32] = [:]
    /// The GSIs that another vector may use.
    package var parked: Set<UInt32> = []
    /// The message data of each GSI of a vector.
    package var routes: [UInt32: UInt32] = [:]
    /// The number of memory slots that can still be added.
    package var slotsLeft = 1000
    /// The maximum number of mappings of each I/O address space.
    package var mappingLimit = 65535
    /// The rules that were violated.
    package var violations: [String] = []
    var nextSlot: UInt32 = 2
    var nextGSI: UInt32 = 24
    var failing: @Sendable (Int, Call) -> Int32? = { _, _ in nil }
    /// The sizes of the mappings that are being made, by the index of the I/O address space and the IOVA.
    var mapsInProgress: [Int: [UInt64: UInt64]] = [:]
    var mapping: @Sendable (UInt64) -> Void = { _ in }
    var resetting: @Sendable () -> Void = {}
  }

  /// Taken by each call. No lock is taken inside it.
  package let state = Mutex(State())

  /// Creates a world without mappings, connections and failures.
  package init() {}

  /// Makes calls fail.
  ///
  /// - Parameter rule: Returns the error number of a call, or nil. It receives the index of the call in
  ///   ``State/calls``, and the call.
  package func fail(_ rule: @escaping @Sendable (Int, Call) -> Int32?) {
    state.withLock { $0.failing = rule }
  }

  /// Makes every call with a name fail.
  package func fail(_ name: String, with errno: Int32 = 5) {
    fail { _, call in call.name == name ? errno : nil }
  }

  /// Lets every call succeed.
  package func succeed() { fail { _, _ in nil } }

  /// Calls a closure with the IOVA of each mapping while that mapping is in progress, without a lock.
  package func whileMapping(_ body: @escaping @Sendable (UInt64) -> Void) {
    state.withLock { $0.mapping = body }
  }

  /// Calls a closure at the start of each reset of a device alone, without a lock.
  package func whileResetting(_ body: @escaping @Sendable () -> Void) {
    state.withLock { $0.resetting = body }
  }

  /// Returns the calls since the last call of this method.
  package func takeCalls() -> [Call] {
    state.withLock { state in
      defer { state.calls = [] }
      return state.calls
    }
  }

  /// The rules that were violated.
  package var violations: [String] { state.withLock { $0.violations } }

  /// Records a call and performs it, or throws if the call must fail.
  func perform<Result: Sendable>(
    _ call: Call, _ body: (inout State) throws(OperationError) -> Result
  ) throws(OperationError) -> Result {
    try state.withLock { state throws(OperationError) in
      state.calls.append(call)
      if let errno = state.failing(state.calls.count - 1, call) {
        throw OperationError("fake \(call.name): errno \(errno)", errno: errno)
      }
      return try body(&state)
    }
  }

  /// Records and performs a call that cannot fail.
  func note(_ call: Call, _ body: (inout State) -> Void = { _ in }) {
    state.withLock { state in
      state.calls.append(call)
      body(&state)
    }
  }
}

extension FakeWorld.State {
  /// Enables or disables the memory of a device. The kernel revokes the mappings of its dma-bufs before the memory is
  /// disabled.
  mutating func setMemory(of device: String, _ isEnabled: Bool) {
    guard !isEnabled else {
      enabledDevices.insert(device)
      return
    }
    enabledDevices.remove(device)
    for space in spaces.indices {
      for (iova, mapped) in spaces[space] {
        guard let buffer = mapped.buffer, buffers[buffer]?.device == device else { continue }
        spaces[space][iova]?.isRevoked = true
      }
    }
  }

  /// Records a violation for each memory slot and each IOVA that maps host memory of the ranges.
  mutating func requireUnmapped(_ ranges: [Range<UInt64>], _ act: String) {
    let all = Array(slots.values) + spaces.flatMap { Array($0.values) }
    for mapped in all where ranges.contains(where: { $0.contains(mapped.host) }) {
      violations.append("\(act) while \(mapped.size) of its bytes are mapped at \(mapped.base)")
    }
  }
}

/// The DMA of a device, through the first I/O address space that maps the address.
extension FakeWorld {
  private func pointer(_ iova: UInt64) -> UnsafeMutableRawPointer? {
    unsafe state.withLock { state in
      for mapped in state.spaces.flatMap({ $0.values }).filter({ !$0.isRevoked })
      where iova >= mapped.base && iova - mapped.base + 4 <= mapped.size {
        return unsafe UnsafeMutableRawPointer(bitPattern: UInt(mapped.host + (iova - mapped.base)))
      }
      return nil
    }
  }

  /// Reads 4 bytes, or nil if the IOMMU does not map them.
  package func load(iova: UInt64) -> UInt32? {
    // SAFETY: the mapping contains these bytes, and its host memory exists as long as the mapping.
    unsafe pointer(iova)?.loadUnaligned(as: UInt32.self)
  }

  /// Writes 4 bytes, if the IOMMU maps them.
  package func store(iova: UInt64, _ value: UInt32) {
    // SAFETY: as above.
    unsafe pointer(iova)?.storeBytes(of: value, as: UInt32.self)
  }
}
