// SPDX-License-Identifier: Apache-2.0

internal import CLinux
internal import Linux

/// The memory that a vCPU shares with KVM (struct kvm_run). It lasts for the life of the vCPU. Accesses to
/// its data are bounds-checked.
struct RunPage: Sendable {
  /// Host virtual address.
  private let address: UInt64
  /// Size in bytes (KVM_GET_VCPU_MMAP_SIZE); at least the size of the structure.
  private let size: UInt64

  /// Creates the page of a vCPU.
  ///
  /// - Parameter mapping: The mapping of the vCPU's descriptor, from its start.
  init(_ mapping: borrowing Mapping) { (address, size) = (mapping.address, mapping.size) }

  /// Creates a page from memory of at least the structure's size.
  init(address: UInt64, size: UInt64) { (self.address, self.size) = (address, size) }

  // SAFETY, for all of these properties: the mapping holds the structure and outlives this value.
  private var run: UnsafeMutablePointer<kvm_run>? { unsafe UnsafeMutablePointer(bitPattern: UInt(address)) }

  /// The exit reason of the last KVM_RUN.
  var exitReason: Int32 { unsafe Int32(bitPattern: cl_run_exit_reason(run)) }

  /// True if KVM_RUN returned for an access. The next KVM_RUN completes the access.
  var isAccess: Bool { unsafe cl_run_is_access(run) }

  /// The memory access of KVM_EXIT_MMIO.
  var memoryAccess: cl_access { unsafe cl_run_mmio(run) }

  /// The port access of KVM_EXIT_IO.
  var portAccess: cl_access { unsafe cl_run_io(run) }

  /// The processor's exit reason of KVM_EXIT_FAIL_ENTRY.
  var hardwareReason: UInt64 { unsafe cl_run_hardware_exit(run) }

  /// The kind of KVM_EXIT_INTERNAL_ERROR.
  var suberror: UInt32 { unsafe cl_run_suberror(run) }

  /// The data words of KVM_EXIT_INTERNAL_ERROR.
  var internalData: [UInt64] {
    unsafe (0..<cl_run_internal_count(run)).map { unsafe cl_run_internal_data(run, $0) }
  }

  /// The GPA of the access that KVM could not emulate, or UInt64.max if KVM does not report it.
  var emulationAddress: UInt64 { unsafe cl_run_emulation_address(run) }

  /// The type of KVM_EXIT_SYSTEM_EVENT.
  var systemEvent: UInt32 { unsafe cl_run_system_event(run) }

  /// Makes KVM_RUN return immediately, or stops doing so. Any thread may call this.
  func setImmediateExit(_ on: Bool) { unsafe cl_run_set_immediate_exit(run, on) }

  private func pointer(_ offset: UInt64, _ width: Int) -> UnsafeMutableRawPointer? {
    guard width >= 1, width <= 8, offset <= size, UInt64(width) <= size - offset else { return nil }
    return unsafe UnsafeMutableRawPointer(bitPattern: UInt(address + offset))
  }

  /// Loads 1 to 8 bytes. Returns all-ones beyond the end.
  func load(_ offset: UInt64, width: Int) -> UInt64 {
    // SAFETY: the range has been checked.
    guard let pointer = unsafe pointer(offset, width) else { return .max }
    return unsafe cl_load(pointer, UInt32(width))
  }

  /// Stores 1 to 8 bytes. Does nothing beyond the end.
  func store(_ offset: UInt64, width: Int, _ value: UInt64) {
    // SAFETY: the range has been checked.
    guard let pointer = unsafe pointer(offset, width) else { return }
    unsafe cl_store(pointer, UInt32(width), value)
  }
}
