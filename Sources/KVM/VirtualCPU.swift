// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import Linux
public import Seams

/// One vCPU (KVM_CREATE_VCPU). Its thread runs it. Other threads may interrupt it.
public final class VirtualCPU: Sendable {
  /// The number, which is also the APIC ID.
  public let index: Int
  private let descriptor: OwnedDescriptor
  private let shared: Mapping
  private let page: RunPage
  private let pause: CPUPause
  private let member: CPUPause.Member

  /// Creates the vCPU and sets its CPUID and its memory type registers as after power-on.
  public init(_ machine: VirtualMachine, index: Int, features: CPUFeatures) throws(KernelError) {
    self.index = index
    pause = machine.pause
    let number = try check(
      cl_kvm_number(machine.descriptor.number, IOC_KVM_CREATE_VCPU, UInt(index)),
      "KVM_CREATE_VCPU \(index)")
    descriptor = OwnedDescriptor(owning: number)
    shared = try Mapping(descriptor: number, offset: 0, size: machine.runSize)
    page = RunPage(shared)
    try features.apply(to: descriptor, apicID: UInt32(index))
    // IA32_MTRR_DEF_TYPE: MTRRs on; write-back unless another MTRR applies (SDM vol. 3 §12.11.2.1).
    try check(cl_kvm_set_msr(number, 0x2FF, 0x806), "KVM_SET_MSRS IA32_MTRR_DEF_TYPE")
    // IA32_MISC_ENABLE: fast string operations.
    try check(cl_kvm_set_msr(number, 0x1A0, 1), "KVM_SET_MSRS IA32_MISC_ENABLE")
    member = pause.add(page)
  }

  /// One trapped access to a port, or to memory without a memory slot.
  public struct Access: ~Copyable {
    /// Port number or GPA.
    public let address: UInt64
    /// The width in bytes: 1, 2 or 4 for a port, 1 to 8 for memory. KVM splits an access at the end of a
    /// page.
    public let width: Int
    /// The number of repetitions of a string instruction; 1 for memory.
    public let count: Int
    /// True if the guest writes.
    public let isWrite: Bool
    private let page: RunPage
    private let offset: UInt64

    init(_ access: cl_access, in page: RunPage) {
      self.page = page
      address = access.address
      width = Int(access.width)
      count = Int(access.count)
      isWrite = access.write
      offset = access.offset
    }

    /// Returns the value that the guest writes in one repetition.
    public borrowing func value(_ index: Int = 0) -> UInt64 {
      page.load(offset + UInt64(index * width), width: width)
    }

    /// Stores the value that the guest reads in one repetition.
    public borrowing func complete(_ value: UInt64, _ index: Int = 0) {
      page.store(offset + UInt64(index * width), width: width, value)
    }
  }

  /// A reason for the return of KVM_RUN.
  public enum Exit: ~Copyable {
    /// An access to guest-physical memory without a memory slot.
    case memory(Access)
    /// An access to an I/O port.
    case port(Access)
    /// A signal or an immediate exit. The instruction is complete.
    case interrupted
    /// The vCPU is between two instructions, and the caller or another vCPU waits for a pause; see
    /// ``VirtualCPU/duringPause(_:)``.
    case pausable
    /// KVM cannot emulate the instruction at RIP (KVM_INTERNAL_ERROR_EMULATION). The instruction had no
    /// effect.
    case notEmulated(FaultLocation)
    /// KVM cannot deliver an interrupt or exception through memory without a memory slot
    /// (KVM_INTERNAL_ERROR_DELIVERY_EV). The next KVM_RUN delivers it.
    ///
    /// - Parameter cause: The error text if the VM ends for this reason.
    case notDelivered(FaultLocation, cause: String)
    /// A triple fault.
    case shutdown
    /// KVM_RUN returned -EFAULT without exit information: the host removed the memory of a memory slot.
    case fault
    /// The processor or KVM cannot continue. The text gives the reason.
    case failed(String)
  }

  /// An instruction of the guest and the memory that it accesses.
  public struct FaultLocation: Equatable, Sendable {
    /// RIP, a guest-virtual address, or nil if it cannot be read.
    public let instruction: UInt64?
    /// The GPA of the access, or nil if KVM does not report it.
    public let address: UInt64?

    /// Creates a location.
    ///
    /// - Parameters:
    ///   - instruction: RIP.
    ///   - address: GPA.
    public init(instruction: UInt64?, address: UInt64?) {
      self.instruction = instruction
      self.address = address
    }
  }

  /// Records the calling thread as the thread of this vCPU.
  public func adopt() { member.adopt() }

  /// Runs the guest until KVM_RUN returns.
  ///
  /// - Parameter isPausing: True to complete the current instruction and to begin no other one.
  public func run(isPausing: Bool = false) -> Exit {
    switch pause.enter(member, isPausing: isPausing) {
    case .guest: break
    case .completion: page.setImmediateExit(true)
    case .none: return .pausable
    }
    let result = cl_kvm_run(descriptor.number)
    pause.leave(member, isInside: result == 0 && page.isAccess)
    guard result == 0 else {
      switch -result {
      case KernelError.interrupted, KernelError.again:
        // Only the vCPU's thread clears this. The thread then checks if the VM has ended.
        page.setImmediateExit(false)
        return .interrupted
      case KernelError.fault: return .fault
      case let errno: return .failed(KernelError("KVM_RUN on vCPU \(index)", errno: errno).description)
      }
    }
    switch page.exitReason {
    case KVM_EXIT_MMIO: return .memory(Access(page.memoryAccess, in: page))
    case KVM_EXIT_IO: return .port(Access(page.portAccess, in: page))
    case KVM_EXIT_INTR, KVM_EXIT_IRQ_WINDOW_OPEN: return .interrupted
    case KVM_EXIT_SHUTDOWN: return .shutdown
    case KVM_EXIT_FAIL_ENTRY:
      return .failed(
        "vCPU \(index): the processor refused the guest's state (KVM_EXIT_FAIL_ENTRY, hardware reason "
          + "\(page.hardwareReason.hexadecimal))")
    case KVM_EXIT_INTERNAL_ERROR: return internalError()
    case KVM_EXIT_SYSTEM_EVENT:
      return .failed("vCPU \(index): KVM system event \(page.systemEvent)")
    case let reason:
      return .failed("vCPU \(index) at \(instructionText()): KVM exit \(reason) is not supported")
    }
  }

  /// Returns the exit for KVM_EXIT_INTERNAL_ERROR (KVM api.rst).
  private func internalError() -> Exit {
    let suberror = page.suberror
    if suberror == KVM_INTERNAL_ERROR_EMULATION {
      return .notEmulated(faultLocation(page.emulationAddress))
    }
    let data = page.internalData
    let words = data.map { String($0, radix: 16) }
    let cause =
      "vCPU \(index) at \(instructionText()): KVM_EXIT_INTERNAL_ERROR \(Self.name(suberror)), data "
      + words.joined(separator: " ")
    guard suberror == KVM_INTERNAL_ERROR_DELIVERY_EV else { return .failed(cause) }
    // The last word is the number of a host processor. The fourth word is the GPA if it is not the last word
    // (arch/x86/kvm/vmx/vmx.c, __vmx_handle_exit; arch/x86/kvm/x86.c, kvm_prepare_event_vectoring_exit).
    return .notDelivered(faultLocation(data.count > 4 ? data[3] : .max), cause: cause)
  }

  private func faultLocation(_ address: UInt64) -> FaultLocation {
    FaultLocation(instruction: instructionPointer, address: address == .max ? nil : address)
  }

  private static func name(_ suberror: UInt32) -> String {
    switch Int32(bitPattern: suberror) {
    case KVM_INTERNAL_ERROR_SIMUL_EX: "KVM_INTERNAL_ERROR_SIMUL_EX"
    case KVM_INTERNAL_ERROR_DELIVERY_EV: "KVM_INTERNAL_ERROR_DELIVERY_EV"
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: "KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON"
    default: "\(suberror)"
    }
  }

  /// Injects #UD at the guest's current instruction (KVM_SET_VCPU_EVENTS). A processor without that
  /// instruction raises the same exception.
  public func injectUndefinedInstruction() throws(KernelError) {
    try check(cl_kvm_inject_undefined(descriptor.number), "KVM_SET_VCPU_EVENTS on vCPU \(index)")
  }

  /// Calls `body` while every vCPU of the VM is between two instructions. This vCPU already is, because
  /// ``run(isPausing:)`` has returned ``Exit/pausable``.
  ///
  /// - Returns: False if another vCPU stayed inside an instruction until the timeout. `body` is then not
  ///   called, and that vCPU gets ``Exit/pausable`` after its instruction.
  public func duringPause<Failure: Error>(
    _ body: () throws(Failure) -> Void
  ) throws(Failure) -> Result<Bool, KernelError> {
    try pause.during(body)
  }

  /// Records that the vCPU's thread no longer enters the guest.
  public func retire() { pause.leave(member, isInside: false) }

  /// Returns RIP as text for an error message, or `an unknown RIP`.
  private func instructionText() -> String {
    instructionPointer.map { "RIP \($0.hexadecimal)" } ?? "an unknown RIP"
  }

  private var instructionPointer: UInt64? {
    var registers = kvm_regs()
    // SAFETY: the call fills in the struct.
    return unsafe cl_kvm_get_regs(descriptor.number, &registers) >= 0 ? registers.rip : nil
  }

  /// Makes the current or the next KVM_RUN return immediately.
  public func interrupt() { member.interrupt() }

  /// The frequency of the guest's time stamp counter in kHz (KVM_GET_TSC_KHZ), or nil if KVM does not know
  /// it.
  public var timeStampFrequency: Int? {
    let frequency = cl_kvm_number(descriptor.number, IOC_KVM_GET_TSC_KHZ, 0)
    return frequency > 0 ? Int(frequency) : nil
  }

  /// Sets the registers that the boot protocols define.
  public func setState(_ state: CPUState) throws(KernelError) {
    var special = kvm_sregs()
    // SAFETY: the calls read and fill in the structs.
    try check(unsafe cl_kvm_get_sregs(descriptor.number, &special), "KVM_GET_SREGS")
    state.apply(to: &special)
    try check(unsafe cl_kvm_set_sregs(descriptor.number, &special), "KVM_SET_SREGS")
    var general = kvm_regs()
    general.rip = state.rip
    general.rsi = state.rsi
    general.rbx = state.rbx
    general.rax = state.rax
    general.rflags = state.rflags
    try check(unsafe cl_kvm_set_regs(descriptor.number, &general), "KVM_SET_REGS")
  }
}
