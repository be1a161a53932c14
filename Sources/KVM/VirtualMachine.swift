// SPDX-License-Identifier: Apache-2.0

internal import CLinux
public import GuestMemory
public import Linux

/// A virtual machine with the full in-kernel irqchip and PIT (KVM_CREATE_VM).
public final class VirtualMachine: Sendable {
  let descriptor: OwnedDescriptor
  let runSize: UInt64
  /// Takes the vCPUs out of the guest for a moment.
  let pause: CPUPause

  /// Creates a machine with interrupt controllers and timer, and no memory.
  ///
  /// - Parameters:
  ///   - identityMap: A page for VT-x (KVM_SET_IDENTITY_MAP_ADDR).
  ///   - taskState: Three pages for VT-x (KVM_SET_TSS_ADDR).
  public init(
    _ system: borrowing KVMSystem, identityMap: GuestAddress, taskState: GuestAddress
  ) throws(KernelError) {
    let number = try check(
      cl_kvm_number(system.descriptor.number, IOC_KVM_CREATE_VM, 0), "KVM_CREATE_VM")
    descriptor = OwnedDescriptor(owning: number)
    runSize = try system.runSize()
    pause = try CPUPause()
    try check(cl_kvm_set_identity_map(number, identityMap.rawValue), "KVM_SET_IDENTITY_MAP_ADDR")
    try check(
      cl_kvm_number(number, IOC_KVM_SET_TSS_ADDR, UInt(taskState.rawValue)),
      "KVM_SET_TSS_ADDR")
    try check(cl_kvm_number(number, IOC_KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP")
    try check(cl_kvm_create_pit(number), "KVM_CREATE_PIT2")
    if system.reportsEmulationFailures {
      // Else KVM injects #UD by itself unless the guest is at CPL 0.
      try check(
        cl_kvm_enable(number, UInt32(KVMSystem.exitOnEmulationFailure), 1),
        "KVM_ENABLE_CAP KVM_CAP_EXIT_ON_EMULATION_FAILURE")
    }
  }

  /// Makes a range of host memory the guest's (KVM_SET_USER_MEMORY_REGION).
  ///
  /// - Parameters:
  ///   - host: Host virtual address.
  ///   - size: Bytes; a multiple of the page size.
  public func setMemory(
    slot: UInt32, at base: GuestAddress, size: UInt64, host: UInt64
  ) throws(KernelError) {
    try check(
      cl_kvm_set_memory_slot(descriptor.number, slot, 0, base.rawValue, size, host),
      "KVM_SET_USER_MEMORY_REGION slot \(slot), \(size) bytes at GPA \(base)")
  }

  /// Takes a slot's memory away from the guest. When this returns no vCPU uses it any more.
  public func removeMemory(slot: UInt32) throws(KernelError) {
    try check(
      cl_kvm_set_memory_slot(descriptor.number, slot, 0, 0, 0, 0),
      "KVM_SET_USER_MEMORY_REGION slot \(slot), remove")
  }

  /// Lets an eventfd raise an interrupt without running any code of this process (KVM_IRQFD).
  ///
  /// A count that the event already has is injected once, and taken.
  public func connect(event: Int32, toInterrupt gsi: UInt32) throws(KernelError) {
    try check(cl_kvm_irqfd(descriptor.number, event, gsi, 0, -1), "KVM_IRQFD gsi \(gsi)")
    // KVM injects a count that is already there, without taking it. What arrives from now on it takes itself,
    // so that what is taken here has been injected: none is lost, none doubled.
    do throws(KernelError) { try check(cl_eventfd_take(event), "read eventfd") } catch {
      // A caller that gets an error may connect the event again, which KVM refuses while it is connected.
      try disconnect(event: event, fromInterrupt: gsi)
      throw error
    }
  }

  /// Lets an eventfd raise a level-triggered line, which stays up until the guest's end of interrupt; then
  /// KVM lowers it and signals `resample` (KVM_IRQFD_FLAG_RESAMPLE). Several events may share a line.
  public func connect(event: Int32, toLine gsi: UInt32, resample: Int32) throws(KernelError) {
    try check(
      cl_kvm_irqfd(descriptor.number, event, gsi, UInt32(KVM_IRQFD_FLAG_RESAMPLE), resample),
      "KVM_IRQFD gsi \(gsi), level")
  }

  /// Ends that; when this returns the event raises no more interrupts and keeps its count.
  public func disconnect(event: Int32, fromInterrupt gsi: UInt32) throws(KernelError) {
    try check(
      cl_kvm_irqfd(descriptor.number, event, gsi, UInt32(KVM_IRQFD_FLAG_DEASSIGN), -1),
      "KVM_IRQFD deassign gsi \(gsi)")
  }

  /// Tells KVM of a VFIO group, so that it knows of non-coherent DMA and may use posted
  /// interrupts (KVM_DEV_TYPE_VFIO). The group leaves when the returned device closes.
  public func makeVFIODevice() throws(KernelError) -> KVMVFIODevice {
    let number = try check(
      cl_kvm_create_device(descriptor.number, KVM_DEV_TYPE_VFIO.rawValue),
      "KVM_CREATE_DEVICE KVM_DEV_TYPE_VFIO")
    return KVMVFIODevice(descriptor: OwnedDescriptor(owning: number))
  }

  /// KVM's own record of the VFIO groups that a machine uses.
  public final class KVMVFIODevice: Sendable {
    private let descriptor: OwnedDescriptor

    init(descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    /// Adds a group by its open descriptor (KVM_DEV_VFIO_GROUP_ADD).
    public func add(group: Int32) throws(KernelError) {
      try check(cl_kvm_vfio_add_group(descriptor.number, group), "KVM_DEV_VFIO_GROUP_ADD")
    }
  }
}
